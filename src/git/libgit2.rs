//! libgit2's process-wide settings, made once.
//!
//! Nothing outside of Skiff's own directories takes part: no system or user Git configuration, no `~/.ssh`. HTTP goes through
//! Skiff's own transport ([`super::http`]).

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
};

use git2::{ConfigLevel, ObjectType, opts};

use super::{http, known_hosts::KnownHosts};

/// How long libgit2 waits for an SSH server to accept the connection.
const CONNECT_TIMEOUT_MILLISECONDS: i32 = 15_000;
/// How long libgit2 waits for the next byte of an SSH server. It ends the threads that were left behind at a deadline.
const SILENCE_TIMEOUT_MILLISECONDS: i32 = 60_000;
/// Address space for pack files.
const MAPPED_BYTES: usize = 512 << 20;
/// Memory for objects that were read.
const CACHE_BYTES: isize = 32 << 20;
/// Directories up to this size are worth a place in the cache.
const CACHED_TREE_BYTES: usize = 1 << 20;

static HOME: OnceLock<PathBuf> = OnceLock::new();
static WRITTEN_KNOWN_HOSTS: Mutex<Option<Arc<KnownHosts>>> = Mutex::new(None);

/// Makes the settings, the first time that it is called.
#[allow(unsafe_code)]
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let levels = [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global];
        // SAFETY: libgit2 asks that these options are not changed while other threads use it. Whoever uses it in this
        // process calls `prepare` first, and `Once` lets nobody pass before the settings are made.
        let results = unsafe {
            levels
                .into_iter()
                .map(|level| opts::set_search_path(level, ""))
                .collect::<Vec<_>>()
                .into_iter()
                .chain([
                    opts::set_verify_owner_validation(false),
                    opts::set_server_connect_timeout_in_milliseconds(CONNECT_TIMEOUT_MILLISECONDS),
                    opts::set_server_timeout_in_milliseconds(SILENCE_TIMEOUT_MILLISECONDS),
                    opts::set_mwindow_mapped_limit(MAPPED_BYTES),
                    opts::set_cache_max_size(CACHE_BYTES),
                    opts::set_cache_object_limit(ObjectType::Tree, CACHED_TREE_BYTES),
                    git2::transport::register("http", http::transport),
                    git2::transport::register("https", http::transport),
                ])
        };
        for error in results.filter_map(Result::err) {
            tracing::error!(%error, "cannot set an option of libgit2");
        }
    });
}

/// Gives libgit2 a home directory of its own below `cache_directory`. The first call holds for the whole process.
#[allow(unsafe_code)]
pub(super) fn set_home(cache_directory: &Path) {
    HOME.get_or_init(|| {
        let home = cache_directory.join("home");
        let option = libgit2_sys::GIT_OPT_SET_HOMEDIR;
        if let Ok(path) = CString::new(home.as_os_str().as_bytes()) {
            // SAFETY: as in `prepare`, and the option takes one NUL-terminated string, which libgit2 copies.
            let result = unsafe { libgit2_sys::git_libgit2_opts(option.cast_signed(), path.as_ptr()) };
            if result < 0 {
                tracing::error!("cannot set libgit2's home directory");
            }
        }
        home
    });
}

/// Lets libgit2 know which kinds of host key are on record, so that it asks servers for one of them. Whether a key is
/// trusted is decided elsewhere, so a failure here is no harm beyond a refused host.
pub(super) fn prefer_keys_of(known_hosts: &Arc<KnownHosts>) {
    let Some(home) = HOME.get() else { return };
    let mut written = WRITTEN_KNOWN_HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
    if written.as_ref() == Some(known_hosts) {
        return;
    }
    let directory = home.join(".ssh");
    let new = directory.join("known_hosts.new");
    let result = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&new, known_hosts.for_key_preference()))
        .and_then(|()| fs::rename(&new, directory.join("known_hosts")));
    match result {
        Ok(()) => *written = Some(Arc::clone(known_hosts)),
        Err(error) => {
            tracing::warn!(%error, directory = %directory.display(), "cannot write the known SSH hosts");
        }
    }
}
