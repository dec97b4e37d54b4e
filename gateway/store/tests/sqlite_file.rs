//! What is particular to the SQLite store: the URL, the file, and what it says when it cannot be opened.

use portcullis_store::{Store, StoreError};
use portcullis_verify::Clock;
use sqlx::Connection as _;
use std::error::Error as _;
use std::path::Path;

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&format!("sqlite://{}", path.display()), Clock::system()).await
}

#[tokio::test]
async fn only_files_are_stores() {
    for url in [
        "",
        "portcullis.db",
        "sqlite:portcullis.db",
        "sqlite://",
        "sqlite://:memory:",
        "sqlite://file:portcullis.db",
        "sqlite://portcullis.db?mode=memory",
        "mysql://user:hunter2@host/database",
    ] {
        let error = Store::open(url, Clock::system()).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains("sqlite://FILE"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_in_private() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(
        &garbage,
        "no database at all, but long enough to have a header".repeat(100),
    )
    .unwrap();
    for path in [folder.path().join("none/store.db"), folder.path().to_owned(), garbage] {
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.to_string(), "the store is unavailable");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(path.to_str().unwrap()), "{cause}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).await.unwrap();
    store.ensure_first_deployment().await.unwrap();
    let mut names = vec![];
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["store.db", "store.db-shm", "store.db-wal"]);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    open(&path).await.unwrap().close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, X'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("9999"), "{error:?}");
}
