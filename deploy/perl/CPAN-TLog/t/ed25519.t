#!perl

# Every way to verify signatures that works here gives the same answers. Those with Math::BigInt take tenths of a second
# each, so that only some are asked for, unless EXTENDED_TESTING is set.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Config;
use Test::More;

use CPAN::TLog::Ed25519;
use CPAN::TLog::Policy;
use Vectors;

my @available = CPAN::TLog::Ed25519::available();
ok((grep { $_ eq 'bigint' } @available), 'Math::BigInt always works');
is( (grep { $_ eq 'native' } @available) ? 1 : 0,
    $Config{ivsize} >= 8                 ? 1 : 0,
    'native integers work if they have 64 bits'
);
note "available: @available";

for my $name (@available) {
    CPAN::TLog::Ed25519::force($name);
    is(CPAN::TLog::Ed25519::implementation(), $name, "$name is used when it is asked for");
    for my $of ([ed25519 => 5], [note => 24]) {
        my ($kind, $step) = @{$of};
        $step = 1 if $name ne 'bigint' || $ENV{EXTENDED_TESTING};
        my @vectors = Vectors::of_kind($kind);
        for my $i (grep { $_ % $step == 0 } 0 .. $#vectors) {
            my $vector = $vectors[$i];

            # Anew, because a policy remembers what it has opened.
            local $vector->{parsed} = $kind eq 'note' ? CPAN::TLog::Policy->parse($vector->{policy}) : undef;
            my ($word) = Vectors::ask($vector);
            is($word, $vector->{perl}, "$name: $kind: $vector->{name}");
        }
    }
}

# A key is as good by one way to calculate as by the other.
require CPAN::TLog::Ed25519::BigInt;
if (grep { $_ eq 'native' } @available) {
    my (%seen, $points);
    for my $public (grep { length == 32 && !$seen{$_}++ } map { $_->{public} } Vectors::of_kind('ed25519')) {
        my $native = CPAN::TLog::Ed25519::Native->on_curve($public);
        is(CPAN::TLog::Ed25519::BigInt->on_curve($public), $native, 'on the curve: ' . unpack 'H*', $public);
        $points += $native;
    }
    cmp_ok($points, '<', scalar keys %seen, 'some are points, and some are not');
}

# Whatever is asked for and is not there is an error, and not something else.
ok(!eval { CPAN::TLog::Ed25519::force('rot13'); 1 }, 'an unknown way is refused');
like($@, qr/expected one of native, cryptx, openssl, bigint that works here/, 'and it is said what there is');
{
    local $ENV{CPAN_TLOG_ED25519} = 'bigint';
    CPAN::TLog::Ed25519::force(undef);
    is(CPAN::TLog::Ed25519::choose($ENV{CPAN_TLOG_ED25519})->name, 'bigint', 'the environment names one');
}

# A perl or library that calculates wrongly is not used.
{

    package Broken;
    sub verify { return 1 }

    package Deaf;
    sub verify { return 0 }
}
ok(!CPAN::TLog::Ed25519::works('Broken'), 'one that accepts everything does not pass the test');
ok(!CPAN::TLog::Ed25519::works('Deaf'),   'nor does one that refuses everything');

done_testing;
