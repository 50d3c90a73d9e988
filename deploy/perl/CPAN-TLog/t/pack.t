#!perl

# Packs of proofs: their parts and their bounds. That each pack, good or bad, has the outcome that it must have is in
# vectors.t.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Digest::SHA qw(sha256_hex);
use File::Temp  qw(tempdir);
use Test::More;

use CPAN::TLog::Bundle;
use CPAN::TLog::Pack;
use CPAN::TLog::Policy;
use CPAN::TLog::Source;
use Vectors;

my %vector = map { $_->{name} => $_ } Vectors::of_kind('pack');
my $whole  = $vector{'an upload'};
my $pack   = CPAN::TLog::Pack->parse($whole->{pack});
is($pack->count, 10, 'a pack');

# With the first line of a bundle before it and the checkpoint behind it, a section is a bundle.
my $policy = CPAN::TLog::Policy->parse($whole->{policy});
for my $number (0 .. $pack->count - 1) {
    my $bundle = CPAN::TLog::Bundle->parse($pack->bundle($number));
    my $opened = $policy->open($bundle->checkpoint);
    ok($bundle->verify($opened->size, $opened->root), 'proof ' . $bundle->index . ' is one');
    my %part = (entry => $bundle->entry, index => $bundle->index, hashes => [$bundle->hashes], checkpoint => $pack->checkpoint);
    is(CPAN::TLog::Bundle->new(%part)->bytes, $pack->bundle($number), 'and has one form');
}

sub refused {
    my ($text, $why, $name) = @_;
    ok(!eval { CPAN::TLog::Pack->parse($text); 1 }, "$name is refused");
    like($@, $why, "$name: and it is said why");
    return;
}

# Each proof has the bounds of a bundle.
my ($proofs, $checkpoint) = $whole->{pack} =~ /\A(.*\ncheckpoint\n)(.*)\z/s;
my $line = "\xE2\x80\x94 x.example ";
my $long = 256 * 1024 - length($checkpoint) - 4_000;
ok(CPAN::TLog::Pack->parse($whole->{pack} . $line . 'A' x $long . "\n"), 'a long checkpoint');
refused($whole->{pack} . $line . 'A' x (256 * 1024) . "\n", qr/line [0-9]+: .* at most 262144 are allowed/, 'a longer one');
refused("pauselog-proofs/v1\nextra " . 'A' x 300_000 . "\nindex 1\n\n${checkpoint}", qr/a proof of [0-9]+ bytes/, 'a long proof');
refused("pauselog-proofs/v1\nextra " . 'A' x 21_852 . "\nindex 1\n\ncheckpoint\n$checkpoint", qr/over 16384 bytes/, 'a long entry');
{
    local $CPAN::TLog::Pack::MAX_PROOFS = 9;
    refused($whole->{pack}, qr/over 9 proofs/, 'one with too many proofs');
    local $CPAN::TLog::Pack::MAX_SIZE = length($whole->{pack}) - 1;
    refused($whole->{pack}, qr/this program reads at most/, 'one that is too large');
}
my $dir  = tempdir(CLEANUP => 1);
my $file = "$dir/x.tlog-proofs";
open my $out, '>:raw', $file or die;
print {$out} $whole->{pack};
close $out or die;
{
    local $CPAN::TLog::Pack::MAX_SIZE = 1_000;
    ok(!eval { CPAN::TLog::Source->proofs($file, policy => $policy); 1 }, 'no more of a file is read');
    like($@, qr/has 1001 bytes/, 'than shows that it is too large');
}
my $source = CPAN::TLog::Source->proofs($file, policy => $policy);
my %found  = $source->fetch($whole->{path}, sha256_hex($whole->{file}));
is(CPAN::TLog::Bundle->parse($found{bundle})->index, 4, 'the newest upload of a path');
is($found{deletion}, undef, 'which was not deleted since');
%found = $source->fetch('authors/id/N/NO/NOBODY/x.tgz', q{});
like($found{absence_detail}, qr/there is no proof of .*NOBODY.* in \Q$file/, 'of another there is none');

done_testing;
