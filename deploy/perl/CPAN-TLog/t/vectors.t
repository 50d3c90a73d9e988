#!perl

# Each vector has the answer that it must have. They are asked with the usual way to verify signatures.

use 5.016;
use strict;
use warnings;

use FindBin qw($Bin);
use lib "$Bin/lib";

use Test::More;

use Vectors;

for my $kind (qw(policy note inclusion verify tree pack)) {
    my @vectors = Vectors::of_kind($kind);
    cmp_ok(scalar @vectors, '>', 40, "there are vectors of $kind");
    for my $vector (@vectors) {
        my ($word, $result) = Vectors::ask($vector);
        is($word, $vector->{perl}, "$kind: $vector->{name}");
        next if !$result || $vector->{go} ne $vector->{perl} || $word eq 'error';

        # Where Go and Perl agree, they agree in why, and say so in the same sentence.
        is($result->message, $vector->{message}, "$kind: $vector->{name}: in words");

        my ($failed) = map { $_->{name} } grep { !$_->{ok} } $result->checks;
        is($failed, $vector->{failed}, "$kind: $vector->{name}: what failed first");
    }
}

done_testing;
