#!perl

# What is given to PAUSE: a patch of few lines, and a module that it can load with what it has.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Pod::Checker ();
use Test::More;

use Spooled qw(%added $root put welcome_file events clear);

is_deeply([sort keys %added], [q{}, qw(delfile_hook newfile_hook welcome_file)], 'the patch touches three functions');
is($added{$_} =~ tr/\n//, 1, ($_ || 'the head of lib/PAUSE.pm') . ': one line') for sort keys %added;

# A checkout with the patch but without the module works as before.
my $loaded = do { local $ENV{PERL5LIB}; qx{"$^X" -e 'use v5.12; $added{q{}} print \$HAVE_TLOG ? "with" : "without"'} };
is($loaded, 'without', 'a missing module does not end PAUSE');
{
    no warnings 'once';
    local $PAUSE::HAVE_TLOG = undef;
    put('authors/id/E/ET/ETHER/x.tgz', 'x');
    clear();
    welcome_file({ NOW => 0, URIRECORD => { uriid => 'E/ET/ETHER/x.tgz' } }, 1);
    is(scalar events(), 0, 'and nothing is called');
}

my $module = "$Bin/../lib/PAUSE/TLog.pm";
my $loads  = qx{"$^X" -I"$Bin/../lib" -wc "$module" 2>&1};
like($loads, qr/syntax OK\n\z/, 'the module loads without warnings') or diag($loads);
is(Pod::Checker::podchecker($module, '/dev/null'), 0, 'its documentation is POD');

done_testing;
