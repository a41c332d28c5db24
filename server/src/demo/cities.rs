//! The cities of the demo's rides: real names, most rides first.

/// A city, and what a ride there is paid in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct City {
    /// Name, in UTF-8 and without characters that JSON escapes.
    pub(super) name: &'static str,
    /// ISO 3166-1 code of its country.
    pub(super) country: &'static str,
}

/// ISO 4217 code of a country's currency, and roughly what the first kilometre costs in it.
pub(super) fn currency_of(country: &str) -> (&'static str, f64) {
    match country {
        "BR" => ("BRL", 9.0),
        "MX" => ("MXN", 28.0),
        "IN" => ("INR", 60.0),
        "US" => ("USD", 4.0),
        "GB" => ("GBP", 3.2),
        "FR" | "BE" => ("EUR", 3.0),
        "DE" | "NL" | "FI" => ("EUR", 3.6),
        "ES" => ("EUR", 2.6),
        "IT" => ("EUR", 3.2),
        "PT" => ("EUR", 2.2),
        "PL" => ("PLN", 9.0),
        "CZ" => ("CZK", 90.0),
        "AT" | "IE" => ("EUR", 3.4),
        "CH" => ("CHF", 5.0),
        "SE" => ("SEK", 45.0),
        "NO" => ("NOK", 55.0),
        "DK" => ("DKK", 35.0),
        "GR" => ("EUR", 2.4),
        "RO" => ("RON", 8.0),
        "HU" => ("HUF", 1200.0),
        "TR" => ("TRY", 60.0),
        "EG" => ("EGP", 25.0),
        "NG" => ("NGN", 900.0),
        "KE" => ("KES", 180.0),
        "ZA" => ("ZAR", 25.0),
        "GH" => ("GHS", 18.0),
        "MA" => ("MAD", 15.0),
        "TZ" => ("TZS", 3500.0),
        "ET" => ("ETB", 90.0),
        "SA" => ("SAR", 8.0),
        "AE" => ("AED", 9.0),
        "IL" => ("ILS", 14.0),
        "JO" => ("JOD", 1.5),
        "PK" => ("PKR", 250.0),
        "BD" => ("BDT", 120.0),
        "LK" => ("LKR", 300.0),
        "JP" => ("JPY", 500.0),
        "KR" => ("KRW", 4500.0),
        "CN" => ("CNY", 13.0),
        "TW" => ("TWD", 85.0),
        "HK" => ("HKD", 27.0),
        "SG" => ("SGD", 4.5),
        "MY" => ("MYR", 6.0),
        "ID" => ("IDR", 18000.0),
        "TH" => ("THB", 50.0),
        "VN" => ("VND", 22000.0),
        "PH" => ("PHP", 60.0),
        "AU" => ("AUD", 4.5),
        "NZ" => ("NZD", 4.5),
        "CA" => ("CAD", 4.0),
        "AR" => ("ARS", 2500.0),
        "CL" => ("CLP", 2200.0),
        "CO" => ("COP", 7000.0),
        "PE" => ("PEN", 7.0),
        "EC" => ("USD", 2.0),
        "UY" => ("UYU", 110.0),
        "CR" => ("CRC", 1300.0),
        "PA" => ("USD", 2.2),
        "DO" => ("DOP", 150.0),
        "UA" => ("UAH", 70.0),
        "KZ" => ("KZT", 700.0),
        "GE" => ("GEL", 4.0),
        "AM" => ("AMD", 700.0),
        _ => ("USD", 4.0),
    }
}

const fn city(name: &'static str, country: &'static str) -> City {
    City { name, country }
}

/// Cities by falling number of rides.
#[rustfmt::skip]
pub(super) const CITIES: &[City] = &[
    city("New York", "US"), city("Mumbai", "IN"), city("São Paulo", "BR"), city("Los Angeles", "US"),
    city("London", "GB"), city("Berlin", "DE"), city("Shanghai", "CN"), city("Paris", "FR"),
    city("Mexico City", "MX"), city("Chicago", "US"), city("Delhi", "IN"), city("Madrid", "ES"),
    city("Rome", "IT"), city("Tokyo", "JP"), city("Toronto", "CA"), city("Sydney", "AU"),
    city("Rio de Janeiro", "BR"), city("San Francisco", "US"), city("Warsaw", "PL"), city("Manchester", "GB"),
    city("Hamburg", "DE"), city("Beijing", "CN"), city("Bengaluru", "IN"), city("Lyon", "FR"),
    city("Miami", "US"), city("Lisbon", "PT"), city("Amsterdam", "NL"), city("Istanbul", "TR"),
    city("Jakarta", "ID"), city("Guadalajara", "MX"), city("Brasília", "BR"), city("Boston", "US"),
    city("Zürich", "CH"), city("Lagos", "NG"), city("Johannesburg", "ZA"), city("Karachi", "PK"),
    city("Seoul", "KR"), city("Buenos Aires", "AR"), city("Bogotá", "CO"), city("Hyderabad", "IN"),
    city("Barcelona", "ES"), city("Milan", "IT"), city("Osaka", "JP"), city("Montreal", "CA"),
    city("Birmingham", "GB"), city("Munich", "DE"), city("Shenzhen", "CN"), city("Washington", "US"),
    city("Marseille", "FR"), city("Melbourne", "AU"), city("Salvador", "BR"), city("Chennai", "IN"),
    city("Brussels", "BE"), city("Prague", "CZ"), city("Vienna", "AT"), city("Stockholm", "SE"),
    city("Oslo", "NO"), city("Bucharest", "RO"), city("Cairo", "EG"), city("Casablanca", "MA"),
    city("Riyadh", "SA"), city("Dubai", "AE"), city("Tel Aviv", "IL"), city("Taipei", "TW"),
    city("Kuala Lumpur", "MY"), city("Bangkok", "TH"), city("Ho Chi Minh City", "VN"), city("Manila", "PH"),
    city("Auckland", "NZ"), city("Santiago", "CL"), city("Kyiv", "UA"), city("Seattle", "US"),
    city("Monterrey", "MX"), city("Kraków", "PL"), city("Houston", "US"), city("Leeds", "GB"),
    city("Cologne", "DE"), city("Guangzhou", "CN"), city("Fortaleza", "BR"), city("Kolkata", "IN"),
    city("Valencia", "ES"), city("Naples", "IT"), city("Nagoya", "JP"), city("Vancouver", "CA"),
    city("Toulouse", "FR"), city("Dallas", "US"), city("Porto", "PT"), city("Rotterdam", "NL"),
    city("Ankara", "TR"), city("Surabaya", "ID"), city("Puebla", "MX"), city("Philadelphia", "US"),
    city("Pune", "IN"), city("Brisbane", "AU"), city("Belo Horizonte", "BR"), city("Glasgow", "GB"),
    city("Frankfurt", "DE"), city("Chengdu", "CN"), city("Copenhagen", "DK"), city("Helsinki", "FI"),
    city("Dublin", "IE"), city("Athens", "GR"), city("Budapest", "HU"), city("Nairobi", "KE"),
    city("Accra", "GH"), city("Dhaka", "BD"), city("Lima", "PE"), city("Quito", "EC"), city("Almaty", "KZ"),
    city("Atlanta", "US"), city("Geneva", "CH"), city("Abuja", "NG"), city("Cape Town", "ZA"),
    city("Lahore", "PK"), city("Busan", "KR"), city("Córdoba", "AR"), city("Medellín", "CO"),
    city("Nice", "FR"), city("Ahmedabad", "IN"), city("Wrocław", "PL"), city("Phoenix", "US"),
    city("Manaus", "BR"), city("Seville", "ES"), city("Turin", "IT"), city("Yokohama", "JP"),
    city("Calgary", "CA"), city("Tijuana", "MX"), city("Liverpool", "GB"), city("Stuttgart", "DE"),
    city("Hangzhou", "CN"), city("San Diego", "US"), city("Jaipur", "IN"), city("Nantes", "FR"),
    city("Perth", "AU"), city("Curitiba", "BR"), city("Denver", "US"), city("Braga", "PT"),
    city("The Hague", "NL"), city("İzmir", "TR"), city("Bandung", "ID"), city("Surat", "IN"),
    city("Antwerp", "BE"), city("Brno", "CZ"), city("Graz", "AT"), city("Gothenburg", "SE"),
    city("Bergen", "NO"), city("Cluj-Napoca", "RO"), city("Alexandria", "EG"), city("Rabat", "MA"),
    city("Jeddah", "SA"), city("Abu Dhabi", "AE"), city("Jerusalem", "IL"), city("Kaohsiung", "TW"),
    city("Johor Bahru", "MY"), city("Chiang Mai", "TH"), city("Hanoi", "VN"), city("Cebu", "PH"),
    city("Wellington", "NZ"), city("Valparaíso", "CL"), city("Lviv", "UA"), city("Bristol", "GB"),
    city("Düsseldorf", "DE"), city("Wuhan", "CN"), city("Austin", "US"), city("León", "MX"),
    city("Málaga", "ES"), city("Bologna", "IT"), city("Fukuoka", "JP"), city("Ottawa", "CA"),
    city("Recife", "BR"), city("Las Vegas", "US"), city("Gdańsk", "PL"), city("Bordeaux", "FR"),
    city("Lucknow", "IN"), city("Portland", "US"), city("Edinburgh", "GB"), city("Leipzig", "DE"),
    city("Xi'an", "CN"), city("Basel", "CH"), city("Kano", "NG"), city("Durban", "ZA"),
    city("Islamabad", "PK"), city("Incheon", "KR"), city("Rosario", "AR"), city("Cali", "CO"),
    city("Adelaide", "AU"), city("Goiânia", "BR"), city("Mérida", "MX"), city("Detroit", "US"),
    city("Kanpur", "IN"), city("Bilbao", "ES"), city("Florence", "IT"), city("Sapporo", "JP"),
    city("Edmonton", "CA"), city("Lille", "FR"), city("Minneapolis", "US"), city("Coimbra", "PT"),
    city("Utrecht", "NL"), city("Antalya", "TR"), city("Medan", "ID"), city("Porto Alegre", "BR"),
    city("Sheffield", "GB"), city("Dresden", "DE"), city("Nanjing", "CN"), city("Nagpur", "IN"),
    city("Nashville", "US"), city("Poznań", "PL"), city("Dar es Salaam", "TZ"), city("Addis Ababa", "ET"),
    city("Amman", "JO"), city("Colombo", "LK"), city("Hong Kong", "HK"), city("Singapore", "SG"),
    city("Montevideo", "UY"), city("San José", "CR"), city("Panama City", "PA"), city("Santo Domingo", "DO"),
    city("Tbilisi", "GE"), city("Yerevan", "AM"), city("Querétaro", "MX"), city("Orlando", "US"),
    city("Indore", "IN"), city("Strasbourg", "FR"), city("Canberra", "AU"), city("Belém", "BR"),
    city("Cardiff", "GB"), city("Hanover", "DE"), city("Chongqing", "CN"), city("Aarhus", "DK"),
    city("Tampere", "FI"), city("Cork", "IE"), city("Thessaloniki", "GR"), city("Debrecen", "HU"),
    city("Mombasa", "KE"), city("Kumasi", "GH"), city("Chattogram", "BD"), city("Arequipa", "PE"),
    city("Guayaquil", "EC"), city("Astana", "KZ"), city("Zaragoza", "ES"), city("Palermo", "IT"),
    city("Kyoto", "JP"), city("Winnipeg", "CA"), city("Tampa", "US"), city("Bhopal", "IN"),
    city("Ghent", "BE"), city("Ostrava", "CZ"), city("Salzburg", "AT"), city("Malmö", "SE"),
    city("Trondheim", "NO"), city("Timișoara", "RO"), city("Giza", "EG"), city("Marrakesh", "MA"),
    city("Dammam", "SA"), city("Sharjah", "AE"), city("Haifa", "IL"), city("Taichung", "TW"),
    city("Penang", "MY"), city("Phuket", "TH"), city("Da Nang", "VN"), city("Davao", "PH"),
    city("Christchurch", "NZ"), city("Concepción", "CL"), city("Odesa", "UA"), city("Charlotte", "US"),
    city("Cancún", "MX"), city("Campinas", "BR"), city("Bern", "CH"), city("Ibadan", "NG"),
    city("Pretoria", "ZA"), city("Faisalabad", "PK"), city("Daegu", "KR"), city("Mendoza", "AR"),
    city("Barranquilla", "CO"), city("Rennes", "FR"), city("New Orleans", "US"), city("Faro", "PT"),
    city("Eindhoven", "NL"), city("Bursa", "TR"), city("Denpasar", "ID"), city("Newcastle", "GB"),
    city("Nuremberg", "DE"), city("Tianjin", "CN"), city("Patna", "IN"), city("Łódź", "PL"),
    city("Hobart", "AU"), city("Salt Lake City", "US"), city("Natal", "BR"), city("Palma", "ES"),
    city("Genoa", "IT"), city("Kobe", "JP"), city("Halifax", "CA"), city("Toluca", "MX"), city("Kochi", "IN"),
    city("Pittsburgh", "US"), city("Montpellier", "FR"), city("Nottingham", "GB"), city("Bremen", "DE"),
    city("Suzhou", "CN"), city("Florianópolis", "BR"), city("Cleveland", "US"), city("Chandigarh", "IN"),
    city("Honolulu", "US"), city("Sacramento", "US"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_need_no_escaping_and_every_country_has_its_currency() {
        let names: std::collections::BTreeSet<_> = CITIES.iter().map(|city| city.name).collect();
        assert_eq!(names.len(), CITIES.len());
        for city in CITIES {
            assert!(!city.name.contains(['"', '\\']) && city.country.len() == 2, "{city:?}");
            let dollars = ["US", "EC", "PA"].contains(&city.country);
            assert_eq!(currency_of(city.country).0 == "USD", dollars, "{city:?}");
        }
    }
}
