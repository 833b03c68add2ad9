//! Loading of a plugin: checks of its bytes, compilation, and questions about what it is.

use std::sync::Arc;

use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};

use crate::{
    cache::{self, Cache},
    call::Usage,
    compiler::{GiveUp, Workshop},
    complexity,
    contract::{About, DescribeRequest, Description, Kind, Version, coupon, service},
    digest::Digest,
    engine::Core,
    error::{CallError, Failure, LoadError},
    exports::{Bindings, Exports},
    guest::{Guest, Identity},
    inspect::{self, World},
    limits::SizeClass,
    metadata,
    per_core::PerCore,
    plugin::{Lane, Plugin},
    sniff,
    store::Host,
    texts::Texts,
    v0_1, v0_2,
};

/// The parts of a runtime that a load uses.
pub(crate) struct Means<'a> {
    pub(crate) cores: &'a PerCore<Arc<Core>>,
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) workshop: &'a Workshop,
    pub(crate) give_up: &'a GiveUp,
}

pub(crate) fn load(means: &Means<'_>, bytes: &[u8], size: SizeClass) -> Result<Plugin, LoadError> {
    let core = means.cores.first();
    fits(core, bytes, size)?;
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    sniff::refuse(bytes)?;
    complexity::check(bytes, core.limits.most_memory_bytes())?;
    let world = inspect::world(bytes)?;
    let texts = Texts::of(bytes)?;
    let digest = Digest::of(bytes);
    let component = compiled(means, digest, bytes)?;
    let guest = Guest {
        core: Arc::clone(core),
        pre: connected(core, &component, world.version)?,
        identity: unknown(digest),
        size,
        component_bytes: bytes.len(),
    };
    let described = describe(guest, world).map_err(|error| wants_more_memory(core, size, error))?;
    // The calls of a plugin this large take longer than sharing an engine costs.
    let others = if bytes.len() > core.limits.component_bytes {
        Vec::new()
    } else {
        let copies = means.cores.others().iter();
        let copies = copies.map(|core| copy(&described.lane.guest, core, world));
        copies.collect::<Result<_, _>>()?
    };
    Ok(described.into_plugin(digest, (world, texts), others))
}

/// Links a component with its one import.
fn connected(
    core: &Core,
    component: &Component,
    version: Version,
) -> Result<InstancePre<Host>, LoadError> {
    let mut linker = Linker::new(&core.engine);
    match version {
        Version::V0_1 => v0_1::connect(&mut linker),
        Version::V0_2 => v0_2::connect(&mut linker),
    }
    .map_err(|error| LoadError::Unsupported(format!("{error:#}")))?;
    // The names of the imports are known to be allowed; only their contents can still be wrong.
    linker
        .instantiate_pre(component)
        .map_err(|error| LoadError::ForbiddenImport(format!("{error:#}")))
}

/// Copies a guest that has been described to another engine.
pub(crate) fn copy(guest: &Guest, core: &Arc<Core>, world: World) -> Result<Lane, LoadError> {
    let component = cache::copy(guest.pre.component(), &core.engine)
        .map_err(|error| LoadError::Unsupported(format!("{error:#}")))?;
    let guest = Guest {
        core: Arc::clone(core),
        pre: connected(core, &component, world.version)?,
        ..guest.clone()
    };
    let Bindings { exports, .. } = bind(&guest, world)?;
    Ok(Lane {
        guest,
        exports: Arc::new(exports),
    })
}

fn bind(guest: &Guest, world: World) -> Result<Bindings, LoadError> {
    match world.version {
        Version::V0_1 => v0_1::bind(guest, world.kind),
        Version::V0_2 => v0_2::bind(guest, world.kind),
    }
}

/// Refuses a file larger than its class allows, and names the class that is large enough.
fn fits(core: &Core, bytes: &[u8], class: SizeClass) -> Result<(), LoadError> {
    let found = bytes.len();
    let allows = |class: SizeClass| core.limits.component_bytes_of(class);
    if found <= allows(class) {
        return Ok(());
    }
    match SizeClass::ALL
        .into_iter()
        .find(|other| found <= allows(*other))
    {
        Some(sufficient) => Err(LoadError::AboveClass {
            bytes: found,
            limit: allows(class),
            class,
            sufficient,
        }),
        None => Err(LoadError::TooLarge {
            bytes: found,
            limit: SizeClass::ALL.map(allows).into_iter().fold(0, usize::max),
        }),
    }
}

/// Returns machine code for a component that has been inspected: from the cache, or compiled now
/// and cached.
fn compiled(means: &Means<'_>, digest: Digest, bytes: &[u8]) -> Result<Component, LoadError> {
    let engine = &means.cores.first().engine;
    let cached = || means.cache?.get(engine, digest);
    if let Some(component) = cached() {
        return Ok(component);
    }
    let _turn = means.workshop.turn(means.give_up)?;
    // A concurrent load may have compiled the same component meanwhile.
    if let Some(component) = cached() {
        return Ok(component);
    }
    let code = means.workshop.compile(engine, bytes, means.give_up)?;
    let component =
        cache::read(engine, &code).map_err(|error| LoadError::Unsupported(format!("{error:#}")))?;
    if let Some(cache) = means.cache {
        cache.put(digest, &code);
    }
    Ok(component)
}

/// Binds the functions, then calls `about` and `describe` and checks their answers.
fn describe(mut guest: Guest, world: World) -> Result<Described, LoadError> {
    let Bindings { about, exports } = bind(&guest, world)?;
    let about = about.call(&guest).map_err(described)?.value;
    metadata::check_about(&about)?;
    guest.identity = Identity {
        plugin: about.id.clone(),
        version: about.version.clone(),
    };
    let (description, usage) = ask(&guest, &exports, world.kind).map_err(described)?;
    metadata::check_description(&description)?;
    Ok(Described {
        about,
        description,
        usage,
        lane: Lane {
            guest,
            exports: Arc::new(exports),
        },
    })
}

/// Asks a component for its description, without settings.
fn ask(guest: &Guest, exports: &Exports, kind: Kind) -> Result<(Description, Usage), CallError> {
    Ok(match kind {
        Kind::Service => {
            let function = exports.bound::<service::Describe>(guest)?;
            let told = function.call(guest, &DescribeRequest::default())?;
            (Description::Service(told.value), told.usage)
        }
        Kind::Coupon => {
            let told = exports.bound::<coupon::Describe>(guest)?.call(guest, &())?;
            (Description::Coupon(told.value), told.usage)
        }
    })
}

/// A component on its first engine, and its answers about itself.
struct Described {
    about: About,
    description: Description,
    usage: Usage,
    lane: Lane,
}

impl Described {
    fn into_plugin(self, digest: Digest, own: (World, Texts), others: Vec<Lane>) -> Plugin {
        let lanes = PerCore::new(self.lane, others);
        Plugin::new(digest, self.about, own, self.description, self.usage, lanes)
    }
}

/// Replaces the error of a component that ran out of memory while describing itself, if a larger
/// class has more.
fn wants_more_memory(core: &Core, class: SizeClass, error: LoadError) -> LoadError {
    let sufficient = SizeClass::Large;
    let LoadError::Describe(call) = &error else {
        return error;
    };
    match call.failure {
        Failure::MemoryExceeded { limit } if limit < core.limits.most_memory_bytes() => {
            LoadError::MemoryAboveClass {
                limit,
                class,
                sufficient,
            }
        }
        _ => error,
    }
}

/// Returns the identity that errors name before the component has told its own.
fn unknown(digest: Digest) -> Identity {
    Identity {
        plugin: format!("of digest {digest:.12}"),
        version: "(unknown version)".to_owned(),
    }
}

fn described(error: CallError) -> LoadError {
    LoadError::Describe(Box::new(error))
}
