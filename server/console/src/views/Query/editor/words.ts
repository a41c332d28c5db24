// What the editor knows of the language: the words of its statements, types, and functions with their arguments.
// What else the server lists is added (functions.ts); a browser test asks it to plan each one that is named here.

export const KEYWORDS =
  "select from where group by having order limit offset distinct all as on using join inner left right full outer cross semi anti natural lateral union except intersect with recursive values case when then else end and or not in exists between like ilike similar to is null true false asc desc nulls first last cast try_cast explain analyze verbose show tables columns filter over partition rows range groups unbounded preceding following current row window qualify interval unnest grouping sets rollup cube any some escape extract";

export const TYPES =
  "int integer bigint smallint tinyint double float real decimal numeric varchar char text string boolean date time timestamp timestamptz bytea json uuid array";

export type FunctionKind = "aggregate" | "window" | "scalar" | "table";

export interface FunctionWord {
  name: string;
  arguments: string;
  kind: FunctionKind;
  about: string;
}

const of = (kind: FunctionKind, lines: string): FunctionWord[] =>
  lines
    .trim()
    .split("\n")
    .map((line) => {
      const [, name = "", given = "", about = ""] = /^\s*(\w+)\((.*?)\) (.*)$/.exec(line) ?? [];
      return { name, arguments: given, kind, about };
    });

export const FUNCTIONS: FunctionWord[] = [
  ...of(
    "aggregate",
    `count(expression) how many are not NULL; count(*) counts rows
     sum(expression) the sum
     avg(expression) the mean
     min(expression) the least
     max(expression) the greatest
     median(expression) the value in the middle
     stddev(expression) the sample's standard deviation
     stddev_pop(expression) the population's standard deviation
     var(expression) the sample's variance
     var_pop(expression) the population's variance
     corr(y, x) the correlation
     covar_samp(y, x) the sample's covariance
     bool_and(expression) true if all are
     bool_or(expression) true if one is
     array_agg(expression) the values as an array
     string_agg(expression, delimiter) the texts, joined
     first_value(expression) the first value
     last_value(expression) the last value
     approx_distinct(expression) how many different ones, nearly
     approx_percentile_cont(expression, percentile) a percentile (0 to 1), nearly
     approx_median(expression) the median, nearly
     regr_slope(y, x) the slope of the line that fits best
     regr_intercept(y, x) where that line begins`,
  ),
  ...of(
    "window",
    `row_number() the row's number in its partition
     rank() the rank, with gaps
     dense_rank() the rank, without gaps
     percent_rank() the rank from 0 to 1
     ntile(n) which of n equal parts
     lag(expression, offset, default) the value of an earlier row
     lead(expression, offset, default) the value of a later row
     nth_value(expression, n) the n-th value of the frame`,
  ),
  ...of(
    "table",
    `generate_series(start, stop, step) numbers as a table, stop included
     range(start, stop, step) numbers as a table, stop excluded`,
  ),
  ...of(
    "scalar",
    `now() the time at which the query was planned
     date_trunc(unit, time) cut off to a minute, hour, day, …
     date_bin(interval, time, origin) the start of the interval that the time is in
     date_part(part, time) year, month, hour, epoch, …
     to_timestamp(expression) text or seconds as a time
     to_timestamp_millis(expression) milliseconds as a time
     to_char(time, format) a time as text
     to_unixtime(time) seconds since 1970
     from_unixtime(seconds) seconds since 1970 as a time
     make_date(year, month, day) a date
     abs(x) without its sign
     ceil(x) the next whole number above
     floor(x) the next whole number below
     round(x, digits) rounded
     trunc(x, digits) cut off
     sqrt(x) the square root
     power(base, exponent) a power
     exp(x) e to the power of x
     ln(x) the natural logarithm
     log10(x) the logarithm to 10
     log2(x) the logarithm to 2
     signum(x) -1, 0 or 1
     random() a number from 0 up to 1
     lower(text) in lower case
     upper(text) in upper case
     trim(text) without blanks around it
     ltrim(text) without blanks before it
     rtrim(text) without blanks behind it
     length(text) how many characters
     substr(text, start, length) a part, from 1
     left(text, n) the first n characters
     right(text, n) the last n characters
     replace(text, from, to) every from becomes to
     split_part(text, delimiter, n) the n-th part
     concat(a, b) joined
     concat_ws(delimiter, a, b) joined, with a delimiter
     strpos(text, part) where the part begins, from 1; 0 if nowhere
     starts_with(text, prefix) whether it begins so
     contains(text, part) whether it is in it
     lpad(text, n, fill) filled up to n characters at its start
     rpad(text, n, fill) filled up to n characters at its end
     reverse(text) from its end
     regexp_like(text, pattern) whether it matches
     regexp_replace(text, pattern, by) what matches is replaced
     regexp_match(text, pattern) what matched, as an array
     md5(text) the hash as text
     coalesce(a, b) the first that is not NULL
     nullif(a, b) NULL if both are equal
     nvl(a, b) b if a is NULL
     greatest(a, b) the greater one
     least(a, b) the lesser one
     array_length(array) how many elements
     array_has(array, element) whether it is in it
     array_to_string(array, delimiter) joined
     array_position(array, element) where it is, from 1
     arrow_typeof(expression) the type, in Arrow's words`,
  ),
];
