//! The long texts: addresses, titles and search phrases, each made of a number and nothing else.
//!
//! Lengths are about those of ClickBench's table: 80 bytes an address, 100 a title (most of it Cyrillic), 40 a phrase.

use std::fmt::Write;

use crate::data::{Random, mix};

const HOSTS: [&str; 12] = [
    "smeshariki.ru",
    "auto.example.com",
    "kinopoisk.ru",
    "market.example.ru",
    "irr.example.ru",
    "video.example.ua",
    "news.example.net",
    "mail.example.ru",
    "holodilnik.example.ru",
    "otvet.example.ru",
    "foto.example.com",
    "games.example.org",
];
const WORDS: [&str; 32] = [
    "catalog", "view", "search", "item", "page", "news", "film", "forum", "topic", "login", "album", "photo",
    "price", "model", "used", "sale", "moscow", "region", "filter", "sort", "offer", "review", "board",
    "user", "profile", "video", "music", "track", "map", "weather", "recipe", "game",
];
const TITLE_WORDS: [&str; 32] = [
    "купить",
    "недорого",
    "Москва",
    "фото",
    "цена",
    "отзывы",
    "смотреть",
    "онлайн",
    "бесплатно",
    "новости",
    "погода",
    "карта",
    "работа",
    "авто",
    "продажа",
    "квартиры",
    "скачать",
    "музыка",
    "игры",
    "видео",
    "рецепты",
    "форум",
    "каталог",
    "доставка",
    "ремонт",
    "билеты",
    "отдых",
    "здоровье",
    "одежда",
    "обувь",
    "кухня",
    "дети",
];
/// One address or title in so many names the search engine, as in ClickBench's table.
const NAMED_EVERY: u64 = 2_000;

/// An address; `site` decides its host.
pub(super) fn url(out: &mut String, site: u64, number: u64) {
    let mut random = Random::new(site, 71, number);
    let host = HOSTS[mix(site) as usize % HOSTS.len()];
    let scheme = if random.percent(80.0) { "http" } else { "https" };
    let www = if random.percent(40.0) { "www." } else { "" };
    out.clear();
    // Writing into a string does not fail.
    let _ = write!(out, "{scheme}://{www}{host}/");
    for _ in 0..random.between(1, 4) {
        out.push_str(WORDS[random.below(32) as usize]);
        out.push('/');
    }
    let _ = write!(out, "{site}/{number}.html");
    if random.below(NAMED_EVERY) == 0 {
        out.push_str("?from=www.google.com/search");
    }
    for _ in 0..random.below(3) {
        let sign = if out.contains('?') { '&' } else { '?' };
        let _ = write!(out, "{sign}{}={}", WORDS[random.below(32) as usize], random.below(100_000));
    }
}

/// A title.
pub(super) fn title(out: &mut String, site: u64, number: u64) {
    let mut random = Random::new(site, 72, number);
    out.clear();
    for _ in 0..random.between(3, 8) {
        out.push_str(TITLE_WORDS[random.below(32) as usize]);
        out.push(' ');
    }
    if random.below(NAMED_EVERY / 4) == 0 {
        out.push_str("Google ");
    }
    let _ = write!(out, "- {site} {number}");
}

/// A phrase that somebody searched for.
pub(super) fn phrase(out: &mut String, number: u64) {
    let mut random = Random::new(0, 73, number);
    out.clear();
    for _ in 0..random.between(1, 4) {
        out.push_str(TITLE_WORDS[random.below(32) as usize]);
        out.push(' ');
    }
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_lengths_that_the_opening_names_and_differ_by_number() {
        let mut sums = [0; 3];
        let mut text = String::new();
        let mut seen = std::collections::HashSet::new();
        for number in 0..1_000 {
            url(&mut text, 62, number);
            assert!(text.starts_with("http") && seen.insert(text.clone()));
            sums[0] += text.len();
            title(&mut text, 62, number);
            assert!(seen.insert(text.clone()));
            sums[1] += text.len();
            phrase(&mut text, number);
            assert!(seen.insert(text.clone()));
            sums[2] += text.len();
        }
        let means = sums.map(|sum| sum / 1_000);
        assert!((60..100).contains(&means[0]) && (70..120).contains(&means[1]), "{means:?}");
        assert!((30..60).contains(&means[2]), "{means:?}");
    }
}
