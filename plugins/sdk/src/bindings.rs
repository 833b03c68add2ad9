//! Bindings that `wit-bindgen` generates from the contract, once for every plugin.
//!
//! Both worlds export `metadata`, and a crate can define its export macro only once. So each
//! interface is a world of its own here; the export macros put the two that a plugin implements
//! into it, and `wit-component` joins them to the contract's world.

/// The exports every plugin has, and the import it may have.
pub mod metadata {
    wit_bindgen::generate!({
        inline: "
            package dermaga:sdk;
            world metadata-part {
                import dermaga:plugin/log@0.2.0;
                export dermaga:plugin/metadata@0.2.0;
            }
        ",
        path: "../../wit/0.2.0",
        pub_export_macro: true,
        export_macro_name: "export_metadata",
        generate_unused_types: true,
        generate_all,
        additional_derives: [PartialEq, Eq],
    });
}

/// The export of coupon plugins.
pub mod coupon {
    wit_bindgen::generate!({
        inline: "
            package dermaga:sdk;
            world coupon-part {
                export dermaga:plugin/coupon@0.2.0;
            }
        ",
        path: "../../wit/0.2.0",
        pub_export_macro: true,
        export_macro_name: "export_coupon",
        generate_all,
        additional_derives: [PartialEq, Eq],
        with: { "dermaga:plugin/types@0.2.0": crate::bindings::metadata::dermaga::plugin::types },
    });
}

/// The export of service plugins.
pub mod service {
    wit_bindgen::generate!({
        inline: "
            package dermaga:sdk;
            world service-part {
                export dermaga:plugin/service@0.2.0;
            }
        ",
        path: "../../wit/0.2.0",
        pub_export_macro: true,
        export_macro_name: "export_service",
        generate_all,
        additional_derives: [PartialEq, Eq],
        with: { "dermaga:plugin/types@0.2.0": crate::bindings::metadata::dermaga::plugin::types },
    });
}
