//! Tests of the sentences about refused templates.

use super::*;

fn problem(key: &str, message: &str) -> TemplateProblem {
    TemplateProblem {
        line: 3,
        column: 7,
        key: key.to_owned(),
        message: message.to_owned(),
    }
}

fn refused(problems: Vec<TemplateProblem>) -> RefusedTemplate {
    RefusedTemplate {
        file: "ghost.toml".to_owned(),
        service: None,
        sold_as_before: false,
        problems,
        cure: Cure::Correct,
    }
}

#[test]
fn the_first_problem_is_told_and_the_others_are_counted() {
    let first = || problem("plans[0].slug", "it is missing");
    for (problems, told) in [
        (vec![], "The problem is in the file ghost.toml."),
        (
            vec![problem("", "it is no TOML.")],
            "The problem is in the file ghost.toml:3:7: it is no TOML.",
        ),
        (
            vec![first()],
            "The problem is in ghost.toml:3:7: plans[0].slug: it is missing.",
        ),
        (
            vec![TemplateProblem { line: 0, ..first() }],
            "it is missing",
        ),
        (
            vec![first(), first()],
            "The problem is in ghost.toml:3:7: plans[0].slug: it is missing. There is 1 more problem.",
        ),
        (
            vec![first(), first(), first()],
            "The problem is in ghost.toml:3:7: plans[0].slug: it is missing. There are 2 more problems.",
        ),
    ] {
        assert_eq!(refused(problems).first(), told);
    }
}

#[test]
fn a_refusal_says_what_becomes_of_the_service() {
    for (service, sold_as_before, told) in [
        (
            Some("ghost"),
            true,
            "Its service ghost is sold as it was loaded last.",
        ),
        (Some("ghost"), false, "Its service ghost is not sold."),
        (None, false, "Its service is not sold."),
    ] {
        let refused = RefusedTemplate {
            service: service.map(str::to_owned),
            sold_as_before,
            ..refused(Vec::new())
        };
        let sentence = refused.sentence().unwrap();
        assert!(sentence.contains(told), "{sentence}");
    }
}

/// After a retirement nothing is wrong with the file.
#[test]
fn a_refusal_says_what_to_do() {
    let why = "The plugin `service-ghost` was retired.";
    for (cure, told) in [
        (Cure::Correct, "Fix the file and reload"),
        (
            Cure::Install(Remedy::Upload),
            "Upload the plugin, activate it and reload",
        ),
        (
            Cure::Activate(Remedy::Activate),
            "Activate a version of the plugin and reload",
        ),
        (
            Cure::Activate(Remedy::UploadHigher),
            "Upload the plugin with a higher version number, activate it and reload",
        ),
    ] {
        let (file, service) = ("ghost.toml".to_owned(), Some("ghost".to_owned()));
        let refused = RefusedTemplate::for_plugin(file, service, why.to_owned(), cure);
        let sentence = refused.sentence().unwrap();
        assert!(
            sentence.contains(why) && sentence.contains(told),
            "{sentence}"
        );
        assert_eq!(sentence.contains("Fix the file"), cure == Cure::Correct);
    }
}

/// Another alert says that the version does not load, and ends by itself.
#[test]
fn a_plugin_that_does_not_load_raises_no_alert_about_its_templates() {
    let why = "The plugin `service-ghost` could not be loaded.".to_owned();
    let refused = RefusedTemplate::for_plugin("ghost.toml".to_owned(), None, why, Cure::Load);
    assert_eq!(refused.sentence(), None);
}
