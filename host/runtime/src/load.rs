//! From bytes to a plugin: refuse what is not one, compile it, ask it what it is.

use std::sync::Arc;

use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    census,
    contract::Version,
    digest::Digest,
    disguise,
    engine::Core,
    error::{CallError, Failure, LoadError},
    exports::Bindings,
    guest::{Guest, Identity},
    limits::SizeClass,
    metadata,
    plugin::{Description, Plugin},
    scan::{self, World},
    v0_1, v0_2,
};

pub(crate) fn load(core: &Arc<Core>, bytes: &[u8], size: SizeClass) -> Result<Plugin, LoadError> {
    fits(core, bytes, size)?;
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    disguise::refuse(bytes)?;
    census::take(bytes, core.limits.most_memory_bytes())?;
    let world = scan::world(bytes)?;
    let digest = Digest::of(bytes);
    let component = compiled(core, digest, bytes)?;
    let mut linker = Linker::new(&core.engine);
    match world.version {
        Version::V0_1 => v0_1::connect(&mut linker),
        Version::V0_2 => v0_2::connect(&mut linker),
    }
    .map_err(|error| LoadError::Unsupported(format!("{error:#}")))?;
    // The scan has seen the imports' names; what can still be wrong is what they hold.
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| LoadError::ForbiddenImport(format!("{error:#}")))?;
    describe(
        Guest {
            core: Arc::clone(core),
            pre,
            identity: unknown(digest),
            size,
            component_bytes: bytes.len(),
        },
        world,
        digest,
    )
    .map_err(|error| wants_more_memory(core, size, error))
}

/// Refuses a file that is larger than its class allows, with the class that would do.
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

/// Machine code for a component that has been scanned: from the cache, or compiled now and kept.
fn compiled(core: &Core, digest: Digest, bytes: &[u8]) -> Result<Component, LoadError> {
    let cached = core
        .cache
        .as_ref()
        .and_then(|cache| cache.get(&core.engine, digest));
    if let Some(component) = cached {
        return Ok(component);
    }
    let component = Component::from_binary(&core.engine, bytes)
        .map_err(|error| LoadError::Malformed(format!("{error:#}")))?;
    if let Some(cache) = &core.cache {
        cache.put(digest, &component);
    }
    Ok(component)
}

/// Binds the functions, then asks `about` and `describe` and checks what they say.
fn describe(mut guest: Guest, world: World, digest: Digest) -> Result<Plugin, LoadError> {
    let Bindings { about, exports } = match world.version {
        Version::V0_1 => v0_1::bind(&guest, world.kind)?,
        Version::V0_2 => v0_2::bind(&guest, world.kind)?,
    };
    let about = about.call(&guest).map_err(described)?.value;
    metadata::check_about(&about)?;
    guest.identity = Identity {
        plugin: about.id.clone(),
        version: about.version.clone(),
    };
    let (description, usage) = Description::ask(&guest, &exports, world.kind).map_err(described)?;
    metadata::check_description(&description)?;
    Ok(Plugin::new(
        digest,
        about,
        world.version,
        description,
        usage,
        guest,
        exports,
    ))
}

/// A component that cannot even say what it is within the memory of its class may need a larger one.
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

/// Whom errors name before the component has said who it is.
fn unknown(digest: Digest) -> Identity {
    Identity {
        plugin: format!("of digest {digest:.12}"),
        version: "(unknown version)".to_owned(),
    }
}

fn described(error: CallError) -> LoadError {
    LoadError::Describe(Box::new(error))
}
