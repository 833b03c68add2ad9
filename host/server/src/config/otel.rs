//! Variables of the OpenTelemetry SDK. Other programs may have theirs in the same environment, so that a doubt about
//! one is a note and no problem.

use super::{
    load::Source,
    names::{by_variable, nearest},
};

const FAMILY: &str = "OTEL_";
/// Variables that the SDK in this server reads, beside the setting.
const READ: &[&str] = &[
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_CONCURRENT_EXPORTS",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Address of a collector for traces alone, which other servers read.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Variables of the specification that are like one of those.
const OF_OTHERS: &[&str] = &[
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_TRACES_EXPORTER",
];
/// Beginnings of variables for other signals and other exporters.
const FAMILIES_OF_OTHERS: &[&str] = &[
    "OTEL_BLRP_",
    "OTEL_EXPORTER_JAEGER_",
    "OTEL_EXPORTER_OTLP_LOGS_",
    "OTEL_EXPORTER_OTLP_METRICS_",
    "OTEL_EXPORTER_OTLP_PROFILES_",
    "OTEL_EXPORTER_PROMETHEUS_",
    "OTEL_EXPORTER_ZIPKIN_",
    "OTEL_LOG",
    "OTEL_METRIC",
];
/// Likeness from which a name is taken for a misspelt one.
const ALIKE: f64 = 0.93;

/// Returns a note about a variable that was set for this server, and that it does not read.
pub(super) fn doubt(name: &str, source: &Source) -> Option<String> {
    let is_in_file = matches!(source, Source::Dotenv(..));
    if by_variable(name).is_some() || (READ.contains(&name) && !is_in_file) {
        return None;
    }
    let remark = if READ.contains(&name) {
        "has no effect here; it is read from the environment of the process".to_owned()
    } else if name == TRACES_ENDPOINT {
        format!("has no effect; {ENDPOINT} names the collector")
    } else {
        let known = READ.iter().copied().chain([ENDPOINT]);
        let is_misspelt = name.to_ascii_uppercase().starts_with(FAMILY) && !is_of_others(name);
        let nearest = is_misspelt.then(|| nearest(name, known, ALIKE)).flatten()?;
        format!("is not read by this server; did you mean {nearest}?")
    };
    Some(format!("{name}: {remark} ({source})"))
}

fn is_of_others(name: &str) -> bool {
    let mut families = FAMILIES_OF_OTHERS.iter();
    OF_OTHERS.contains(&name) || families.any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_doubted_and_those_of_others_are_not() {
        let doubted = |name| doubt(name, &Source::Environment);
        for (misspelt, meant) in [
            ("OTEL_EXPORTER_OTLP_ENDPIONT", ENDPOINT),
            ("OTEL_EXPORTER_OTLP_ENDPOINTS", ENDPOINT),
            ("OTEL_EXPORTER_OLTP_ENDPOINT", ENDPOINT),
            ("otel_exporter_otlp_endpoint", ENDPOINT),
            ("OTEL_EXPORTER_OTLP_HEADER", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
            ("OTEL_RESOURCE_ATTRIBUTE", "OTEL_RESOURCE_ATTRIBUTES"),
            ("OTEL_TRACE_SAMPLER", "OTEL_TRACES_SAMPLER"),
            ("OTEL_BSP_SCHEDULED_DELAY", "OTEL_BSP_SCHEDULE_DELAY"),
        ] {
            let expected = format!(
                "{misspelt}: is not read by this server; did you mean {meant}? (environment)"
            );
            assert_eq!(doubted(misspelt), Some(expected));
        }
        for other in [
            "PATH",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "OTEL_METRICS_EXPORTER",
            "OTEL_LOG_LEVEL",
            "OTEL_SDK_DISABLED",
            "OTEL_PROPAGATORS",
            "OTEL_TRACES_EXPORTER",
            "OTEL_BLRP_SCHEDULE_DELAY",
            "OTEL_PYTHON_LOG_CORRELATION",
            "OTEL_INSTRUMENTATION_HTTP_ENABLED",
            "OTEL_SEMCONV_STABILITY_OPT_IN",
        ] {
            assert_eq!(doubted(other), None);
        }
        for read in READ.iter().copied().chain([ENDPOINT]) {
            assert_eq!(doubted(read), None);
        }
    }

    #[test]
    fn a_variable_without_effect_is_doubted() {
        let file = Source::Dotenv(".env".into(), 3);
        let said = doubt("OTEL_EXPORTER_OTLP_HEADERS", &file).unwrap();
        assert!(
            said.ends_with("from the environment of the process (.env:3)"),
            "{said}"
        );
        assert_eq!(doubt(ENDPOINT, &file), None);
        let said = doubt(TRACES_ENDPOINT, &Source::Environment).unwrap();
        assert!(said.contains(ENDPOINT), "{said}");
    }
}
