#!perl

# What a name decides, before anything is opened.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;

use Spooled qw($root $spool put events clear names reports);

my @uploads = qw(
    Try-Tiny-0.31.tar.gz x.tgz x.zip x.tar.bz2 x.par perl-5.36.0.tar.xz CGI.pm.gz CGI.pm fix.patch x.tar.gz.asc x.sig
    Perl6/Foo-0.1.tar.gz JSON txt README-Maker-1.0.tar.gz x.txt.tar.gz x.json.gz.gz sub/CHECKSUMS/x.tgz
);
my @others = qw(
    CHECKSUMS CHECKSUMS.12345 Try-Tiny-0.31.meta Try-Tiny-0.31.readme Try-Tiny-0.31.tar.gz.tlog-proof
    .x.tar.gz.Ab3dEf x.tar.gz~ x.tar.gz.tmp x.tar.gz.part README readme My-README.gz x.html x.HTML x.txt.gz x.md.BZ2
    x.mkdn x.xml x.yml x.json x.pdf.gz x.rdf x.Pod sub/README sub/CHECKSUMS
);
my @bad = (
    'E/ET/ETHER', 'E/ET/ETHER/', 'E/ET/x.tgz', 'E/EX/ETHER/x.tgz', 'X/ET/ETHER/x.tgz', 'e/et/ether/x.tgz',
    'E/ET/ETHERETHERE/x.tgz', 'E/ET/ETH_ER/x.tgz', 'ETHER/x.tgz', 'E/ET/ETHER/../RJBS/x.tgz', 'E/ET/ETHER/./x.tgz',
    'E/ET/ETHER/..', "E/ET/ETHER/x y.tgz", "E/ET/ETHER/x.tgz\n", "E/ET/ETHER/x\0.tgz", "E/ET/ETHER/\xE9.tgz",
    "E/ET/ETHER/\x{263A}.tgz", 'E/ET/ETHER/' . 'x' x 500 . '.tgz', '../../../x.tgz', '../../authors/../x',
);

# A name that passes is opened, and there is nothing: the event comes without digest, and is the proof.
for my $name (@uploads) {
    clear();
    is(scalar reports(sub { PAUSE::TLog::uploaded("$root/authors/id/E/ET/ETHER/$name") }), 1, "$name is looked for");
    is_deeply([map { $_->{path} } events()], ["authors/id/E/ET/ETHER/$name"], "$name is an upload");
}

sub passed_over {
    my ($file, $name) = @_;
    clear();
    my @said = reports(sub {
        ok(!PAUSE::TLog::uploaded($file), "$name is no upload");
        ok(!PAUSE::TLog::deleted($file),  "$name is no upload when it is deleted");
        ok(!PAUSE::TLog::changed($file),  "$name is no index");
    });
    is_deeply([@said, names('new'), names('tmp')], [], "$name is passed over without a word");
    return;
}

passed_over("$root/authors/id/E/ET/ETHER/$_", $_) for @others;
passed_over("$root/authors/id/$_", $_ =~ s/([^\x21-\x7E])/sprintf '\x{%x}', ord $1/ger) for @bad;
passed_over($_, $_ // 'undef') for undef, q{}, '/', 'x.tgz', 'authors/id/E/ET/ETHER/x.tgz', '/elsewhere/E/ET/ETHER/x.tgz',
    "${root}x/authors/id/E/ET/ETHER/x.tgz", $root, "$root/", "$root/x.tgz", "$root/modules/x.tgz";

# Digits, hyphens, and ids of two characters are old, but there.
for my $id (qw(ETHER RJ A1B2 X-Y ABCDEFGHIJ)) {
    my $path = sprintf 'authors/id/%s/%s/%s/x.tgz', substr($id, 0, 1), substr($id, 0, 2), $id;
    clear();
    PAUSE::TLog::uploaded(put($path, 'x'));
    is_deeply([map { $_->{path} } events()], [$path], "an upload of $id");
}

my $long = 'authors/id/E/ET/ETHER/' . join q{/}, 'x' x 242, 'y' x 247;
is(length $long, 512, 'a path of the longest kind');
clear();
PAUSE::TLog::uploaded(put($long, 'x'));
is_deeply([map { $_->{path} } events()], [$long], 'is spooled');
passed_over("$root/${long}z", 'a longer one');

for my $mlroot (undef, q{}, '/', "$root/authors", "$root/authors/id/x/") {
    local $PAUSE::Config = { %{$PAUSE::Config}, MLROOT => $mlroot };
    passed_over("$root/authors/id/E/ET/ETHER/x.tgz", 'an upload with the MLROOT ' . ($mlroot // 'undef'));
}

done_testing;
