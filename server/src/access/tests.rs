//! Who is let in by a configuration, and by one that changes.

use std::slice::from_ref;

use headwater_broker::access::Role;

use super::*;
use crate::config::AccessRole;

/// The cheapest hash that is taken; `password` is of 32 and fewer bytes.
fn cheap_hash(password: &str) -> String {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let params = argon2::Params::new(7 * 1024, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = SaltString::encode_b64(b"sixteen bytes...").unwrap();
    argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

fn user(name: &str, password: &str, role: AccessRole) -> UserConfig {
    UserConfig { name: name.into(), password_hash: cheap_hash(password).as_str().into(), role }
}

fn token(name: &str, expires: &str) -> (NewToken, TokenConfig) {
    let made = new_token();
    let hash = made.hash.as_str().into();
    (made, TokenConfig { name: name.into(), hash, role: AccessRole::Reader, expires: expires.into() })
}

fn shown(user: &str, password: &str) -> Credentials {
    Credentials::shown(user.into(), password.into())
}

fn closed(users: &[UserConfig], tokens: &[TokenConfig]) -> ConfiguredAccess {
    ConfiguredAccess::new(Directory::new(users, tokens).unwrap())
}

#[tokio::test]
async fn right_and_wrong() {
    let (grafana, kept) = token("grafana", "");
    let (old, expired) = token("old", "2020-01-01");
    let (until, later) = token("later", "2999-01-01T00:00:00+02:00");
    let users =
        [user("ada", "right", AccessRole::Administrator), user("bob", "also right", AccessRole::Reader)];
    let access = closed(&users, &[kept, expired, later]);
    let ada = access.authenticate(shown("ada", "right")).await.unwrap();
    assert_eq!((ada.name.as_str(), ada.role), ("ada", Role::Administrator));
    assert_eq!(access.authenticate(shown("bob", "also right")).await.unwrap().role, Role::Reader);
    for made in [&grafana, &until] {
        assert_eq!(
            access.authenticate(Credentials::Token(made.token.clone())).await.unwrap().role,
            Role::Reader
        );
    }
    // A token in the place of a password, whoever shows it.
    assert_eq!(access.authenticate(shown("x", &grafana.token)).await.unwrap().name, "grafana");
    let wrong = [
        shown("ada", "wrong"),
        shown("ada", ""),
        shown("ada", "also right"),
        shown("Ada", "right"),
        shown("nobody", "right"),
        shown("", ""),
        shown("ada", &"x".repeat(PASSWORD_BYTES_MAX + 1)),
        // What the configuration keeps is not what it takes.
        shown("ada", &cheap_hash("right")),
        Credentials::Token(grafana.hash.clone()),
        Credentials::Token(old.token.clone()),
        Credentials::Token(String::new()),
        Credentials::Token(new_token().token),
    ];
    for credentials in wrong {
        assert_eq!(
            access.authenticate(credentials.clone()).await,
            Err(AccessError::Wrong),
            "{credentials:?}"
        );
    }
    assert_eq!(access.authenticate(Credentials::None).await, Err(AccessError::Missing));
    assert!(!access.is_open() && access.user("ada").is_some() && access.user("grafana").is_none());
}

#[tokio::test]
async fn what_it_prints_is_what_it_takes() {
    let printed = hash_password("correct horse").unwrap();
    assert!(printed.starts_with("$argon2id$v=19$"), "{printed}");
    let config =
        UserConfig { name: "ada".into(), password_hash: printed.as_str().into(), role: AccessRole::Reader };
    let access = closed(&[config], &[]);
    access.authenticate(shown("ada", "correct horse")).await.unwrap();
    let (grafana, kept) = token("grafana", "");
    assert!(grafana.token.len() == 67 && grafana.token.starts_with("hw_"));
    assert!(!format!("{grafana:?}{kept:?}").contains(&grafana.hash));
}

#[tokio::test]
async fn guessing_takes_ever_longer_and_others_do_not_wait() {
    let access = closed(&[user("ada", "right", AccessRole::Reader)], &[]);
    let from = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    let mut throttled = 0;
    for attempt in 0..12 {
        let result = access.authenticate_from(shown("ada", &format!("guess {attempt}")), from(1)).await;
        throttled += usize::from(matches!(result, Err(AccessError::Throttled { .. })));
    }
    assert!(throttled >= 6, "{throttled}");
    // Not even the right one is looked at now, from there.
    let right = access.authenticate_from(shown("ada", "right"), from(1)).await;
    assert!(matches!(right, Err(AccessError::Throttled { .. })));
    access.authenticate_from(shown("ada", "right"), from(2)).await.unwrap();
}

#[tokio::test]
async fn a_dashboard_that_asks_many_things_at_once_is_not_guessing() {
    let access = Arc::new(closed(&[user("ada", "right", AccessRole::Reader)], &[]));
    let asked = (0..100).map(|_| {
        let access = Arc::clone(&access);
        tokio::spawn(async move { access.authenticate(shown("ada", "right")).await })
    });
    for asked in futures::future::join_all(asked).await {
        assert_eq!(asked.unwrap().unwrap().name, "ada");
    }
}

#[tokio::test]
async fn one_network_that_tries_names_without_end_shuts_out_nobody_else() {
    let access = closed(&[user("ada", "right", AccessRole::Reader)], &[]);
    let from = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    for name in 0..20_000 {
        let _ = access.attempts.begin(&format!("name {name}"), network_of(from(1)));
    }
    let there = access.admit(shown("ada", "right"), from(1)).await;
    assert!(matches!(there, Err(AccessError::Throttled { .. })), "{there:?}");
    access.admit(shown("ada", "right"), from(2)).await.unwrap();
}

#[tokio::test]
async fn what_let_somebody_in_stands_until_it_changes_or_ends() {
    let hash = cheap_hash("right");
    let ada = |hash: &str, role| UserConfig { name: "ada".into(), password_hash: hash.into(), role };
    let (grafana, kept) = token("grafana", "2999-01-01");
    let access = closed(&[ada(&hash, AccessRole::Administrator)], from_ref(&kept));
    let by_password = access.admit(shown("ada", "right"), None).await.unwrap();
    let by_token = access.admit(Credentials::Token(grafana.token.clone()), None).await.unwrap();
    let open = Admitted { grant: Grant::Open, ..by_password.clone() };
    assert!(access.stands(&by_password) && access.stands(&by_token) && !access.stands(&open));
    assert!(!format!("{by_token:?}").contains(&grafana.hash[..8]));

    let now = chrono::Utc::now();
    let after = |users: &[UserConfig], tokens: &[TokenConfig]| {
        let directory = Directory::new(users, tokens).unwrap();
        (directory.stands(&by_password, now), directory.stands(&by_token, now))
    };
    let role = AccessRole::Administrator;
    let expired = TokenConfig { expires: "2020-01-01".into(), ..kept.clone() };
    let raised = TokenConfig { role, ..kept.clone() };
    // Others may come and go.
    assert_eq!(after(&[ada(&hash, role), user("bob", "x", role)], from_ref(&kept)), (true, true));
    assert_eq!(after(&[], from_ref(&kept)), (false, true));
    assert_eq!(after(&[ada(&cheap_hash("other"), role)], &[]), (false, false));
    assert_eq!(after(&[ada(&hash, AccessRole::Reader)], &[expired]), (false, false));
    assert_eq!(after(&[ada(&hash, role)], &[raised]), (true, false));
}

#[test]
fn the_soonest_of_the_tokens_that_end() {
    let of = |expires: &[&str]| {
        let tokens: Vec<_> =
            expires.iter().enumerate().map(|(at, end)| token(&at.to_string(), end).1).collect();
        let soonest = Directory::new(&[], &tokens).unwrap().soonest_expiry();
        soonest.map(|end| end.to_rfc3339())
    };
    assert_eq!(of(&["", ""]), None);
    // Also one that has ended: somebody may still show it.
    assert_eq!(of(&["2999-01-01", "", "2026-01-31", "2999-01-02"]).unwrap(), "2026-01-31T00:00:00+00:00");
}

#[test]
fn an_unknown_user_costs_what_a_known_one_does() {
    let access = closed(&[user("ada", "right", AccessRole::Reader)], &[]);
    let directory = access.directory.load();
    // The same costs: the numbers are in the hash, and it is never equal.
    assert!(directory.hash_of("ada").costs() == directory.hash_of("nobody").costs());
    assert!(!directory.hash_of("nobody").is_of("right"));
}

#[tokio::test]
async fn the_file_counts_and_counts_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.toml");
    let entry = |name: &str, password: &str| {
        format!(
            "[[users]]\nname = \"{name}\"\npassword_hash = \"{}\"\nrole = \"reader\"\n",
            cheap_hash(password)
        )
    };
    std::fs::write(&file, entry("ada", "one")).unwrap();
    let config = AccessConfig { file: file.clone(), ..AccessConfig::default() };
    let (access, following) = start(&config).unwrap();
    access.authenticate(shown("ada", "one")).await.unwrap();
    let before = access.user("ada").unwrap();

    std::fs::write(&file, entry("ada", "two") + &entry("bob", "three")).unwrap();
    let mut known = false;
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        known = access.user("bob").is_some();
        if known {
            break;
        }
    }
    assert!(known);
    // The password that was right, and remembered as such, is wrong now, and sessions that began with it are over.
    assert_eq!(access.authenticate(shown("ada", "one")).await, Err(AccessError::Wrong));
    access.authenticate(shown("ada", "two")).await.unwrap();
    assert_ne!(access.user("ada").unwrap().stamp, before.stamp);
    following.unwrap().abort();
}

#[test]
fn a_bad_file_is_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.toml");
    let config = AccessConfig { file: file.clone(), ..AccessConfig::default() };
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let error = start(&config).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("access.toml"), "{error}");
        error
    };
    assert!(refused("[[users]]\nname = \"ada\"\npassword_hash = \"secret\nrole").contains("[[users]]"));
    for text in [
        "[[users]]\nname = \"ada\"\npassword_hash = \"secret\"\nrole = \"reader\"\n",
        "[[users]]\nsecret = 1\n",
        "users = \"secret\"\n",
    ] {
        assert!(!refused(text).contains("\"secret\""), "{text}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(start(&config).map(|_| ()).unwrap_err().to_string().contains("No such file"));
    // An empty file names nobody: then nobody is let in.
    assert!(with_file(&config, b"").unwrap().known("ada").is_none());
}
