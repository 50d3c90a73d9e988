#!perl

# What is too large is refused before it costs anything, and values have one encoding.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(
    canonical_base64 compare_decimals decimal_bits decimal_of_u64 fits_63_bits is_utf8 plain quote
);
use CPAN::TLog::Entry;
use CPAN::TLog::Findings;
use CPAN::TLog::Note;
use CPAN::TLog::Outcome;
use CPAN::TLog::Policy;
use CPAN::TLog::Result;
use Vectors;

my ($good) = grep { $_->{name} eq 'all is well' } Vectors::of_kind('verify');
my $bundle = CPAN::TLog::Bundle->parse($good->{bundle});
my $policy = CPAN::TLog::Policy->parse($good->{policy});
my $note   = $bundle->checkpoint;

sub refused {
    my ($code, $why, $name) = @_;
    ok(!eval { $code->(); 1 }, "$name is refused");
    like($@, $why, "$name: and it is said why");
    return;
}

my $line = "\xE2\x80\x94 x.example ";
my $fits = CPAN::TLog::Note->parse($note . $line . 'A' x (120 * 1024) . "\n");
is(scalar $fits->signatures, 5, 'a long signature line is read');
ok($policy->open($fits->bytes)->is_signed, 'and passed over');
refused(
    sub { CPAN::TLog::Note->parse($note . $line . 'A' x (128 * 1024) . "\n") },
    qr/expected at most 131072/,
    'a note over 128 KiB'
);
refused(
    sub { CPAN::TLog::Bundle->parse($good->{bundle} . 'x' x (256 * 1024)) },
    qr/at most 262144/,
    'a bundle over 256 KiB'
);
refused(
    sub { CPAN::TLog::Policy->parse($good->{policy} . '#' x (1024 * 1024) . "\n") },
    qr/expected at most 1048576/,
    'a policy over 1 MiB'
);
ok(CPAN::TLog::Policy->parse($good->{policy} . ('#' x 1000 . "\n") x 900), 'a policy of 900 kB is read');
refused(sub { CPAN::TLog::Entry->parse('x' x 16_385) }, qr/expected at most 16384/, 'an entry over 16 KiB');
is(eval { $policy->open($note)->size }, '13',                 'a checkpoint is opened');
is($policy->open($note),                $policy->open($note), 'and one that was opened is not verified again');

# Whatever is read is written again to the same bytes.
my %part = (entry => $bundle->entry, index => $bundle->index, hashes => [$bundle->hashes], checkpoint => $note);
is(CPAN::TLog::Bundle->new(%part)->bytes, $good->{bundle}, 'a bundle from its parts');
refused(sub { CPAN::TLog::Bundle->new(%part, index => '01') }, qr/decimal index/, 'a part that is not canonical');

is(canonical_base64($_->[0]), $_->[1], "base64 '" . quote($_->[0]) . q{'})
    for (
    [q{},          q{}],
    ['AA==',       "\0"],
    ['AB==',       undef],
    ['AA=',        undef],
    ['AA',         undef],
    ['AAA=',       "\0\0"],
    ["AA==\n",     undef],
    ['A A=',       undef],
    ['====',       undef],
    ['AA==AA==',   undef],
    ['-_-_',       undef],
    ["\xC3\xA9==", undef],
    ['+/+/',       "\xFB\xFF\xBF"],
    );
ok(fits_63_bits($_),  "'$_' fits into 63 bits") for qw(0 1 9 10 9223372036854775807);
ok(!fits_63_bits($_), quote($_) . ' does not, or is none')
    for '', '00', '01', '-0', '+1', '1.0', '1e1', ' 1', "1\n", '9223372036854775808', '18446744073709551615',
    "\xD9\xA1";
is(compare_decimals(@{$_}[0, 1]), $_->[2], "compare @{$_}[0, 1]")
    for ['0', '0', 0], ['9', '10', -1], ['10', '9', 1], ['9223372036854775807', '9223372036854775806', 1];
is(decimal_of_u64(pack 'H*', $_->[0]), $_->[1], "0x$_->[0] is $_->[1]")
    for ['0' x 16, '0'], ['f' x 16, '18446744073709551615'], ['7' . 'f' x 15, '9223372036854775807'],
    ['0000000100000000', '4294967296'],
    ['000000006955b900', '1767225600'], ['0de0b6b3a7640000', '1000000000000000000'];

for my $decimal (qw(0 1 2 4294967295 4294967296 9007199254740993 9223372036854775807)) {
    my $bits = join q{}, reverse decimal_bits($decimal);
    is(decimal_of_u64(pack 'B64', $bits), $decimal, "$decimal in bits and back");
}

ok(is_utf8("x" x 100_000 . "\xC3\xA9" x 100_000), 'much UTF-8 is read');
ok(!is_utf8("\xC3\xA9" x 100_000 . "\xC3"),       'and its last byte too');

is(plain("a\x{1b}[31mb\nc\x7f"),      'a?[31mb?c?', 'controls do not reach a terminal');
is(plain("\xE2\x80\xAEevil\xC2\x85"), '?evil?',     'nor what turns the direction of writing');
is(plain("\xFFa"),                    '?a',         'nor what is not UTF-8');
cmp_ok(length plain('x' x 10_000), '<', 1_000, 'nor very much');
is(quote("a\"\\\n\x00\xFF"), '"a\\"\\\\\\n\\x00\\xff"', 'bytes in an error are escaped');

is(CPAN::TLog::Findings::shell($_->[0]), $_->[1], "in a command line: $_->[0]")
    for ['authors/id/E/ET/ETHER/x-1.0.tar.gz', 'authors/id/E/ET/ETHER/x-1.0.tar.gz'], ['a;b', q{'a;b'}],
    [q{a'b}, q{'a'\''b'}], ['$(x)', q{'$(x)'}];
is(CPAN::TLog::Findings::date_of($_->[0]), $_->[1], "the time $_->[0]")
    for ['0', '1970-01-01T00:00:00Z'], ['951782400', '2000-02-29T00:00:00Z'], ['1767225600', '2026-01-01T00:00:00Z'],
    ['4107542399',          '2100-02-28T23:59:59Z'], ['253402300799', '9999-12-31T23:59:59Z'],
    ['253402300800',        '253402300800 seconds after 1970'],
    ['9223372036854775807', '9223372036854775807 seconds after 1970'];

for my $seconds (map { $_ * 86_399 * 397 } 0 .. 200) {
    is(CPAN::TLog::Entry::seconds(CPAN::TLog::Findings::date_of($seconds)), $seconds, "the time $seconds and back");
}
is(CPAN::TLog::Findings::duration($_->[0]), $_->[1], "$_->[0] seconds")
    for [0, '0s'], [61, '1m1s'], [3600, '1h0m0s'], [90_061, '25h1m1s'];

is(CPAN::TLog::Result::to_json($_->[0]), $_->[1], "JSON $_->[1]")
    for [undef, 'null'], ["a\"\\\n\t\x01", '"a\\"\\\\\\n\\u0009\\u0001"'],
    [["\xC3\xA9", "\xFF"], "[\"\xC3\xA9\",\"?\"]"],
    [
    { b => CPAN::TLog::Result::number('9223372036854775807'), a => CPAN::TLog::Result::boolean(0) },
    '{"a":false,"b":9223372036854775807}'
    ];

is( join(q{ }, map { CPAN::TLog::Outcome::code($_) } CPAN::TLog::Outcome::words()),
    '2 1 15 19 14 17 10 18 16 12 11 13 0',
    'the order of outcomes'
);
is( join(q{ }, grep { CPAN::TLog::Outcome::stops($_, 'require') } CPAN::TLog::Outcome::words()),
    'usage error misbehaviour invalid-proof policy upgrade mismatch revoked stale pending not-logged unverifiable',
    'what stops with require'
);
is( join(q{ }, grep { CPAN::TLog::Outcome::stops($_, 'prefer') } CPAN::TLog::Outcome::words()),
    'usage error misbehaviour invalid-proof policy upgrade mismatch revoked',
    'what stops with prefer'
);
ok(CPAN::TLog::Outcome::stops('new', 'prefer') && CPAN::TLog::Outcome::stops('stale', 'new'),
    'whatever is unknown stops');

done_testing;
