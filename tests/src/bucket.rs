//! Server of PyPI that speaks S3 (moto), for tests of what a shop keeps in a bucket.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{checkout, skip};

/// A server process that ends with the test, and keeps the objects of a bucket.
#[derive(Debug)]
pub struct Bucket {
    process: Child,
    /// Address without the bucket.
    pub endpoint: String,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Bucket {
    /// Starts the server with an empty bucket named `toko`; `None` when its library is not installed.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn start() -> Option<Self> {
        let named = std::env::var("DERMAGA_TEST_S3_PYTHON");
        let python = named.unwrap_or_else(|_| "python3".to_owned());
        let probe = Command::new(&python)
            .args(["-c", "import boto3, moto.server"])
            .output();
        if !probe.is_ok_and(|output| output.status.success()) {
            let why = "the Python package moto[server] is not there; name a Python that has it with DERMAGA_TEST_S3_PYTHON";
            skip("a server that speaks S3", why);
            return None;
        }
        let mut process = Command::new(&python)
            .arg(checkout().join("tests/interop/s3_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        Some(Self {
            process,
            endpoint: format!("http://127.0.0.1:{}", port.trim()),
        })
    }

    /// Returns the names of the objects.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn names(&self) -> Vec<String> {
        let url = format!("{}/toko?list-type=2", self.endpoint);
        let listed = reqwest::get(url).await.unwrap().text().await.unwrap();
        let mut names: Vec<String> = listed
            .split("<Key>")
            .skip(1)
            .map(|rest| rest.split("</Key>").next().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Returns the settings of a shop that keeps its attachments in the bucket.
    pub fn settings(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("DERMAGA_ATTACHMENTS", "s3://toko/berkas"),
            ("DERMAGA_S3_ENDPOINT", &self.endpoint),
            ("DERMAGA_S3_REGION", "ap-southeast-3"),
            ("DERMAGA_S3_ACCESS_KEY", "toko"),
            ("DERMAGA_S3_SECRET_KEY", "rahasia"),
        ]
    }
}
