//! The age of the images on sale: what their makers no longer mend, and what was not checked for long.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use dermaga_toolkit::template::{ImageSupport, SupportEnd, Template};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Catalog,
    administration::WRITTEN_HERE,
    loading::file_name,
    store::{self, LoadedFrom},
};
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
    /// Plugin's name for the image.
    pub name: String,
    pub reference: String,
    /// Last day on which its makers mend it; absent when none is named.
    pub supported_until: Option<NaiveDate>,
    /// True when its makers publish no such day: it is old when it was not checked for long.
    pub no_end_published: bool,
    /// Day of the last look for a newer version; absent when none is named.
    pub checked_on: Option<NaiveDate>,
    /// Place where the version was found.
    pub source: Option<String>,
    /// Reason why it is old, in a sentence; absent while it is not.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub old: Option<String>,
    /// True when an administrator made the service, and no template file has the image.
    #[serde(skip)]
    is_own: bool,
}

impl ImageView {
    fn of(
        template: &Template,
        (name, reference): (&String, &String),
        (today, most_days): (NaiveDate, u64),
    ) -> Self {
        let support: Option<&ImageSupport> = template.image_support.get(name);
        let day = |text: &String| text.parse::<NaiveDate>().ok();
        let end = support.and_then(|known| known.supported_until.as_ref());
        let until = match end {
            Some(SupportEnd::Day(until)) => day(until),
            Some(SupportEnd::NonePublished) | None => None,
        };
        let checked = support.and_then(|known| day(&known.checked_on));
        let stale = checked
            .and_then(|day| day.checked_add_days(Days::new(most_days)))
            .is_some_and(|last| last < today);
        // Both days still count themselves: it is old from the day after.
        let old = match (until, checked) {
            (Some(until), _) if until < today => Some(format!("Its support ended on {until}.")),
            (_, Some(checked)) if stale => {
                Some(format!("A newer version was last looked for on {checked}."))
            }
            _ => None,
        };
        Self {
            service: template.slug.clone(),
            name: name.clone(),
            reference: reference.clone(),
            supported_until: until,
            no_end_published: end == Some(&SupportEnd::NonePublished),
            checked_on: checked,
            source: support.map(|known| known.source.clone()),
            old,
            is_own: is_own(template),
        }
    }

    /// Returns the sentence of the alert about an image that is old for this reason.
    fn warning(&self, why: &str) -> String {
        let (service, reference) = (&self.service, &self.reference);
        if self.is_own {
            return format!(
                "{service} runs the image {reference}. {why} Put a newer one into the service, or its day into checkedOn \
                 of its imageSupport (PUT /api/admin/services/ID)."
            );
        }
        format!(
            "{service} runs the image {reference}. {why} Put a newer one into the template, or its day into checked_on, \
             and reload the templates (POST /api/admin/catalog/reload)."
        )
    }
}

/// Returns true for the template of a service that an administrator made.
fn is_own(template: &Template) -> bool {
    file_name(template).starts_with(WRITTEN_HERE)
}

impl Catalog {
    /// Returns the images of all services on sale. One is old after its support, or when it was
    /// last checked more than this many days ago.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn images(&self, most_days: u64) -> Result<Vec<ImageView>> {
        let today = self.clock.now().date_naive();
        let own = self.own_templates().await?;
        let current = self.templates.current();
        let of_files = current.iter().filter(|template| !is_own(template));
        let images = of_files.chain(&own).flat_map(|template| {
            let images = template.images.iter();
            images.map(move |image| ImageView::of(template, image, (today, most_days)))
        });
        Ok(images.collect())
    }

    /// Returns the templates of the services that administrators made. Another server may have made or
    /// edited them since this one has read its own.
    async fn own_templates(&self) -> Result<Vec<Template>> {
        let loaded = store::loaded_from(&mut self.db.read().await?).await?;
        let is_own = |service: &&LoadedFrom| {
            let file = service.template_file.as_deref();
            file.is_some_and(|file| file.starts_with(WRITTEN_HERE))
        };
        let own = loaded.iter().filter(is_own);
        Ok(own.filter_map(|service| service.read().ok()).collect())
    }
}

/// Raises an alert for every image that is old, and resolves those of all others. Returns the
/// number of old ones.
///
/// # Errors
/// When the database refuses.
pub async fn watch_images(catalog: &Catalog, most_days: u64) -> Result<u64> {
    let (clock, kind) = (&catalog.clock, AlertKind::ImageOld);
    let mut subjects = BTreeSet::new();
    let images = catalog.images(most_days).await?;
    let mut conn = catalog.db.begin().await?;
    for image in images {
        let Some(why) = &image.old else { continue };
        let subject = format!("{}/{}", image.service, image.name);
        let message = image.warning(why);
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
