#!perl

# Calls the module for a test in another language: perl -Ilib t/driver.pl ROOT SPOOL. Each line on the standard input is
# a call, its fields separated by tabs, and is answered by a line, 1 or 0:
#
#     upload PATH [BY [TIME]]    index PATH    delete PATH [BY]    name PATH    (is it an upload by its name?)

use 5.016;
use strict;
use warnings;

use PAUSE::TLog;

my ($root, $spool) = @ARGV;
$PAUSE::Config = { MLROOT => "$root/authors/id/", TLOG_SPOOL => $spool };

my %call = (
    upload => sub { PAUSE::TLog::uploaded("$root/$_[0]", by => $_[1], time => $_[2]) },
    index  => sub { PAUSE::TLog::changed("$root/$_[0]") },
    delete => sub { PAUSE::TLog::deleted("$root/$_[0]", by => $_[1]) },
    name   => sub { PAUSE::TLog::is_upload(PAUSE::TLog::cpan_path("$root/$_[0]") // q{}) },
);
binmode STDIN;
while (my $line = <STDIN>) {
    chomp $line;
    my ($call, @of) = split /\t/, $line, -1;
    print $call{$call}->(@of) ? "1\n" : "0\n";
}
close STDOUT or die $!;
