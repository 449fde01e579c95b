//! Reading repositories from real Git servers on this machine: directories, smart HTTP (`git http-backend`), and OpenSSH.
//!
//! Needs the programs `git`, `sshd` and `ssh-keygen` (Debian: `apt-get install git openssh-server`).

// Helpers of tests may fail as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

#[path = "http_server.rs"]
mod http_server;
#[path = "http.rs"]
mod http_tests;
#[path = "image.rs"]
mod image_tests;
#[path = "local.rs"]
mod local_tests;
#[path = "mirror.rs"]
mod mirror_tests;
#[path = "publish.rs"]
mod publish_tests;
#[path = "remote_bases.rs"]
mod remote_bases_tests;
#[path = "ssh_server.rs"]
mod ssh_server;
#[path = "ssh.rs"]
mod ssh_tests;
#[path = "tls.rs"]
mod tls_tests;
#[path = "world.rs"]
mod world;
#[path = "writer.rs"]
mod writer_tests;
