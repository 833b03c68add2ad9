//! Sites whose servers work on a cluster.

use std::path::Path;

use dermaga_tests::skip;

use super::Site;

impl Site {
    /// A site whose servers work on the test cluster; `None` when there is none.
    pub(crate) async fn in_cluster(on_postgres: bool) -> Option<Self> {
        let named = |name: &str| std::env::var(name).ok();
        let Some(admin) = named("DERMAGA_TEST_KUBECONFIG") else {
            skip("Kubernetes", "DERMAGA_TEST_KUBECONFIG names no cluster");
            return None;
        };
        let of_server = named("DERMAGA_TEST_SERVER_KUBECONFIG").unwrap_or(admin);
        Self::on_cluster(on_postgres, Path::new(&of_server)).await
    }

    /// A site whose servers reach a cluster by this kubeconfig.
    pub(crate) async fn on_cluster(on_postgres: bool, kubeconfig: &Path) -> Option<Self> {
        let mut site = Self::new(on_postgres).await?;
        site.set("KUBECONFIG", &kubeconfig.display().to_string());
        // Tests that run at the same time share its nodes.
        site.set("DERMAGA_CAPACITY_CHECK", "false");
        site.provisioner = "kubernetes";
        Some(site)
    }
}
