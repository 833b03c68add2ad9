//! The age of the images on sale: what their makers no longer mend, and what was not checked for long.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use dermaga_toolkit::template::{ImageSupport, Template};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Catalog;
use crate::{
    Result,
    alerts::{self, AlertKind},
    outbox::{self, ADMINISTRATORS, Topic},
};

/// An image that a service on sale may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// Slug of the service.
    pub service: String,
    /// Name of the image in the service's template.
    pub name: String,
    pub reference: String,
    /// Last day on which its makers mend it; absent when the template names none.
    pub supported_until: Option<NaiveDate>,
    /// Day of the last look for a newer version; absent when the template names none.
    pub checked_on: Option<NaiveDate>,
    /// Place where the version was found.
    pub source: Option<String>,
    /// Reason why it is old, in a sentence; absent while it is not.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub old: Option<String>,
}

impl ImageView {
    fn of(
        service: &str,
        (name, reference): (&String, &String),
        support: Option<&ImageSupport>,
        (today, most_days): (NaiveDate, u64),
    ) -> Self {
        let day = |text: &String| text.parse::<NaiveDate>().ok();
        let until = support.and_then(|known| known.supported_until.as_ref().and_then(day));
        let checked = support.and_then(|known| day(&known.checked_on));
        let stale = checked
            .and_then(|day| day.checked_add_days(Days::new(most_days)))
            .is_some_and(|last| last < today);
        let old = match (until, checked) {
            (Some(until), _) if until < today => Some(format!("Its support ended on {until}.")),
            (_, Some(checked)) if stale => {
                Some(format!("A newer version was last looked for on {checked}."))
            }
            _ => None,
        };
        Self {
            service: service.to_owned(),
            name: name.clone(),
            reference: reference.clone(),
            supported_until: until,
            checked_on: checked,
            source: support.map(|known| known.source.clone()),
            old,
        }
    }
}

impl Catalog {
    /// Returns the images of all services on sale. One is old after its support, or when it was
    /// last checked more than this many days ago.
    pub fn images(&self, most_days: u64) -> Vec<ImageView> {
        let today = self.clock.now().date_naive();
        of_templates(&self.templates.current(), today, most_days)
    }
}

fn of_templates(templates: &[Template], today: NaiveDate, most_days: u64) -> Vec<ImageView> {
    let mut views = Vec::new();
    for template in templates {
        for image in &template.images {
            let support = template.image_support.get(image.0);
            views.push(ImageView::of(
                &template.slug,
                image,
                support,
                (today, most_days),
            ));
        }
    }
    views
}

/// Raises an alert for every image that is old, and resolves those of all others. Returns the
/// number of old ones.
///
/// # Errors
/// When the database refuses.
pub async fn watch_images(catalog: &Catalog, most_days: u64) -> Result<u64> {
    let (clock, kind) = (&catalog.clock, AlertKind::ImageOld);
    let mut subjects = BTreeSet::new();
    let mut conn = catalog.db.begin().await?;
    for image in catalog.images(most_days) {
        let Some(why) = &image.old else { continue };
        let subject = format!("{}/{}", image.service, image.name);
        let message = format!(
            "{} runs the image {}. {why} Put a newer one into the template, or its day into checked_on, and reload \
             the templates (POST /api/admin/catalog/reload).",
            image.service, image.reference
        );
        alerts::raise(&mut conn, clock, kind, &subject, &message).await?;
        let payload = json!({
            "service": image.service, "image": image.name, "reference": image.reference, "reason": why,
        });
        let (what, key) = (
            (Topic::ImageOld, ADMINISTRATORS),
            format!("{}:{why}", image.reference),
        );
        outbox::put_once(&mut conn, clock, what, &key, payload).await?;
        subjects.insert(subject);
    }
    for subject in alerts::open_subjects(&mut conn, kind).await? {
        if !subjects.contains(&subject) {
            alerts::resolve(&mut conn, clock, kind, &subject).await?;
        }
    }
    conn.commit().await?;
    Ok(u64::try_from(subjects.len()).unwrap_or(u64::MAX))
}
