//! Counts of a component's contents, checked before the compiler sees it.
//!
//! A few bytes can cause much work: a function of two bytes may declare fifty thousand locals, and
//! a memory of any size is declared in three. Each count has a bound far above the output of real
//! compilers and far below minutes or gigabytes of compilation.

use wasmparser::{
    CompositeInnerType, FuncType, FunctionBody, MemoryType, Parser, Payload, RecGroup, SubType,
    TableType,
};

use crate::error::LoadError;

/// Core modules and components inside: wit-component makes a handful, one or two an interface.
const PARTS: u64 = 200;
/// Functions of all modules; an interpreter of JavaScript has about twenty thousand.
const FUNCTIONS: u64 = 100_000;
/// Locals of one function, parameters aside.
const LOCALS: u64 = 10_000;
/// Values times bytes of one function: compiling takes time and memory in about this number, as each
/// branch may carry every value. JavaScript engines, the largest components there are, reach a fifth.
const FUNCTION_WORK: u64 = 50_000_000;
/// The same over all functions, which are compiled several at once; twice that of such an engine.
const WORK: u64 = 600_000_000;
/// Bytes of one function. Register allocation takes more than linear time in it.
const FUNCTION_BYTES: u64 = 1_000_000;
/// Types, those of components included.
const TYPES: u64 = 50_000;
const GLOBALS: u64 = 10_000;
/// Elements that tables begin with; the pool has room for no more in one table.
const TABLE_ELEMENTS: u64 = 100_000;
/// Segments of data and of elements.
const SEGMENTS: u64 = 100_000;
/// Imports and exports of all parts.
const NAMES: u64 = 100_000;
const PAGE: u64 = 65_536;

/// Counts so far.
#[derive(Debug, Default)]
struct Complexity {
    parts: u64,
    functions: u64,
    types: u64,
    globals: u64,
    table_elements: u64,
    segments: u64,
    names: u64,
    memory_bytes: u64,
    work: u64,
    /// Parameters and results of the widest type so far: a branch may carry as many values.
    width: u64,
}

/// Counts the contents of a component, and refuses more than can be compiled in a moment, or more
/// initial memory than `memory_bytes`.
pub(crate) fn check(bytes: &[u8], memory_bytes: usize) -> Result<(), LoadError> {
    let mut complexity = Complexity::default();
    for payload in Parser::new(0).parse_all(bytes) {
        complexity.count(payload.map_err(|error| LoadError::malformed(error.to_string()))?)?;
        complexity.check(memory_bytes)?;
    }
    Ok(())
}

impl Complexity {
    fn count(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        let malformed =
            |error: wasmparser::BinaryReaderError| LoadError::malformed(error.to_string());
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.parts += 1,
            Payload::FunctionSection(section) => self.functions += u64::from(section.count()),
            Payload::TypeSection(section) => {
                self.types += u64::from(section.count());
                for group in section {
                    self.widen(&group.map_err(malformed)?);
                }
            }
            Payload::CoreTypeSection(section) => self.types += u64::from(section.count()),
            Payload::ComponentTypeSection(section) => self.types += u64::from(section.count()),
            Payload::GlobalSection(section) => self.globals += u64::from(section.count()),
            Payload::DataSection(section) => self.segments += u64::from(section.count()),
            Payload::ElementSection(section) => self.segments += u64::from(section.count()),
            Payload::ImportSection(section) => self.names += u64::from(section.count()),
            Payload::ExportSection(section) => self.names += u64::from(section.count()),
            Payload::ComponentImportSection(section) => self.names += u64::from(section.count()),
            Payload::ComponentExportSection(section) => self.names += u64::from(section.count()),
            Payload::TableSection(section) => {
                for table in section {
                    let TableType { initial, .. } = table.map_err(malformed)?.ty;
                    self.table_elements = self.table_elements.saturating_add(initial);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let MemoryType { initial, .. } = memory.map_err(malformed)?;
                    let bytes = initial.saturating_mul(PAGE);
                    self.memory_bytes = self.memory_bytes.saturating_add(bytes);
                }
            }
            Payload::CodeSectionEntry(body) => self.function(&body).map_err(malformed)??,
            _ => {}
        }
        Ok(())
    }

    fn check(&self, memory_bytes: usize) -> Result<(), LoadError> {
        let memory_limit = u64::try_from(memory_bytes).unwrap_or(u64::MAX);
        bound("modules and components inside it", self.parts, PARTS)?;
        bound("functions", self.functions, FUNCTIONS)?;
        bound("types", self.types, TYPES)?;
        bound("globals", self.globals, GLOBALS)?;
        bound("table elements", self.table_elements, TABLE_ELEMENTS)?;
        bound("values times bytes in all functions", self.work, WORK)?;
        bound("segments", self.segments, SEGMENTS)?;
        bound("imports and exports", self.names, NAMES)?;
        bound(
            "bytes of memory to begin with",
            self.memory_bytes,
            memory_limit,
        )
    }

    fn widen(&mut self, group: &RecGroup) {
        for function in group.types().filter_map(function_type) {
            let values = function
                .params()
                .len()
                .saturating_add(function.results().len());
            self.width = self.width.max(u64::try_from(values).unwrap_or(u64::MAX));
        }
    }

    /// Counts one function: its locals, its length and their product.
    fn function(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<Result<(), LoadError>> {
        let range = body.range();
        let length = range.end.saturating_sub(range.start);
        let mut locals = 0_u64;
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            locals = locals.saturating_add(count.into());
        }
        let values = locals.saturating_add(self.width).saturating_add(1);
        let work = values.saturating_mul(length);
        self.work = self.work.saturating_add(work);
        Ok(bound("locals in one function", locals, LOCALS)
            .and_then(|()| bound("bytes in one function", length, FUNCTION_BYTES))
            .and_then(|()| bound("values times bytes in one function", work, FUNCTION_WORK)))
    }
}

fn function_type(declared: &SubType) -> Option<&FuncType> {
    match &declared.composite_type.inner {
        CompositeInnerType::Func(function) => Some(function),
        _ => None,
    }
}

fn bound(what: &'static str, found: u64, limit: u64) -> Result<(), LoadError> {
    if found <= limit {
        return Ok(());
    }
    Err(LoadError::TooComplex { what, found, limit })
}
