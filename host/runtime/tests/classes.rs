//! Limits of a plugin's class: the size of its file and of its memory.

#![allow(clippy::unwrap_used, reason = "what cannot go on must stop")]

use dermaga_runtime::{
    Failure, LoadError, Runtime, RuntimeConfig, SizeClass,
    contract::{Evaluation, Facts, Place, coupon},
    fixtures::{CouponFixture, Misdeed, padded},
};
use serde_json::json;

const MIB: usize = 1024 * 1024;
const PAGES_PER_MIB: u32 = 16;

fn runtime() -> Runtime {
    Runtime::new(RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    })
    .unwrap()
}

fn evaluation() -> Evaluation {
    Evaluation {
        parameters: json!({}),
        moment: 0,
        place: Place::Wallet,
        purchase: None,
        facts: Facts::default(),
    }
}

#[test]
fn a_file_fits_its_class_to_the_byte_and_the_refusal_names_the_class_that_would_do() {
    let runtime = runtime();
    let component = |bytes| padded(CouponFixture::default().component(), bytes);
    for (class, limit) in [(SizeClass::Standard, 4 * MIB), (SizeClass::Large, 16 * MIB)] {
        let plugin = runtime.load_as(&component(limit), class).unwrap();
        assert_eq!(
            (plugin.size_class(), plugin.component_bytes()),
            (class, limit)
        );
    }
    let above = 4 * MIB + 1;
    assert_eq!(
        runtime.load(&component(above)).unwrap_err(),
        LoadError::AboveClass {
            bytes: above,
            limit: 4 * MIB,
            class: SizeClass::Standard,
            sufficient: SizeClass::Large
        }
    );
    assert_eq!(
        runtime
            .load_as(&component(16 * MIB + 1), SizeClass::Large)
            .unwrap_err(),
        LoadError::TooLarge {
            bytes: 16 * MIB + 1,
            limit: 16 * MIB
        }
    );
}

#[test]
fn memory_is_that_of_the_class_and_a_class_can_be_changed_without_loading_again() {
    let runtime = runtime();
    let growing = |mib: u32| {
        let misdeed = Misdeed::GrowMemoryTo(mib * PAGES_PER_MIB);
        let component = CouponFixture::misbehaving("evaluate", misdeed).component();
        runtime.load(&component).unwrap()
    };
    let exceeded = |limit| Failure::MemoryExceeded { limit };
    let call = |mib, class| {
        let plugin = growing(mib).as_class(class);
        let answer = plugin.call::<coupon::Evaluate>(&evaluation());
        answer.map(|called| called.usage.memory_bytes)
    };
    assert_eq!(call(16, SizeClass::Standard).unwrap(), 16 * MIB);
    assert_eq!(
        call(17, SizeClass::Standard).unwrap_err().failure,
        exceeded(16 * MIB)
    );
    assert_eq!(call(64, SizeClass::Large).unwrap(), 64 * MIB);
    assert_eq!(
        call(65, SizeClass::Large).unwrap_err().failure,
        exceeded(64 * MIB)
    );
}

#[test]
fn a_component_that_needs_more_memory_to_say_what_it_is_is_told_of_the_larger_class() {
    let misdeed = Misdeed::GrowMemoryTo(17 * PAGES_PER_MIB);
    let component = CouponFixture::misbehaving("describe", misdeed).component();
    let runtime = runtime();
    let refused = runtime.load(&component).unwrap_err();
    assert_eq!(
        refused,
        LoadError::MemoryAboveClass {
            limit: 16 * MIB,
            class: SizeClass::Standard,
            sufficient: SizeClass::Large
        }
    );
    assert_eq!(refused.code(), "COMPONENT_ABOVE_CLASS");
    runtime.load_as(&component, SizeClass::Large).unwrap();
}
