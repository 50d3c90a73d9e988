package CPAN::TLog::Search;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Outcome;
use CPAN::TLog::Verify;

our $VERSION = '0.001';

# These are the last word, whatever other sources have.
my %FINAL = map { $_ => 1 } qw(verified revoked upgrade misbehaviour error usage);

# verify asks one source after the other. What a source lacks or has wrong, the next may have: a copy lags, and any
# mirror can flip a bit.
sub verify {
    my ($class, $sources, %request) = @_;
    my $memory = delete $request{memory};
    $request{known} = [$memory ? $memory->known($request{policy}) : ()];
    my $path    = $request{path} // q{};
    my @sources = grep { length $path || !$_->needs_path } @{$sources};
    my ($worst, @missing, @bad);
    for my $source (@sources) {
        my %answer = $source->fetch($path, $request{sha256});
        if ($answer{evidence} || defined $answer{error}) {
            my $result = CPAN::TLog::Verify->verify(%request);
            return $answer{evidence} ? $result->convict($answer{evidence}) : $result->fail($answer{error});
        }
        my $result = CPAN::TLog::Verify->verify(%request, %answer);
        if ($result->outcome eq 'invalid-proof' && @sources > 1) {
            my $note = sprintf 'a proof from %s proves nothing and was left aside: %s', $source->name, $result->message;
            push @bad,     $note;
            push @missing, $note;
            next;
        }
        push @missing, grep { defined } $answer{absence_detail} if $result->outcome eq 'unverifiable';
        $worst = $result if !$worst || CPAN::TLog::Outcome::worst($result->outcome, $worst->outcome) ne $worst->outcome;
        if ($FINAL{$result->outcome}) {
            push @{$result->{notes}}, @bad;
            return $result;
        }
    }
    return $worst if $worst && $worst->outcome ne 'unverifiable';
    return CPAN::TLog::Verify->verify(%request,
        absence_detail => join '; ', @missing ? @missing : 'there is no source of proofs');
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Search - verify a file with the first proof that is found

=head1 SYNOPSIS

    my $result = CPAN::TLog::Search->verify(\@sources,
        policy => $policy, memory => $memory, path => $path, sha256 => $sha256, size => $size, now => time);

=head1 DESCRIPTION

Proofs can come from many places, and none of them is trusted. This module asks them in their order
(L<CPAN::TLog::Source>), has each answer verified, and ends with the first that decides. A proof that proves nothing is as
good as none, unless there is no other source. That the file is logged with other bytes, that it is not logged, or that
too few witnesses have signed is the outcome only if no source knows better; of several such outcomes it is the first in
the order of L<CPAN::TLog::Outcome>.

=head1 METHODS

=head2 verify(\@sources, %request)

The request is that of L<CPAN::TLog::Verify>, without what the sources have to say, and with the C<memory>, a
L<CPAN::TLog::Memory> or undef. Returns a L<CPAN::TLog::Result>. It dies if what is remembered is damaged.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
