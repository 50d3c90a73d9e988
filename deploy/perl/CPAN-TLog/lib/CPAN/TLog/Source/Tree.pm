package CPAN::TLog::Source::Tree;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Encoding qw(plain);
use CPAN::TLog::Error;
use CPAN::TLog::Tree;

our $VERSION = '0.001';

# In seconds: how old a tree may get until a newer one is looked for. A CPAN shell may be open for days.
our $REOPEN = 300;

# new is a proof tree that is opened when it is first asked for. With said, its word counts that a path is not listed.
sub new {
    my ($class, %arg) = @_;
    return bless {%arg}, $class;
}

sub name       { return $_[0]{files}->name }
sub needs_path { return 1 }

# fetch returns what the verifier takes. It never dies: what a source lacks, the next one may have.
sub fetch {
    my ($self, $path, $sha256) = @_;
    my $tree = $self->current;
    return (evidence => $self->{evidence}) if $self->{evidence};
    return (error    => $self->{error})    if defined $self->{error};
    my %answer = !$tree ? () : eval { $tree->proofs_of($path, $sha256) };
    return %answer if %answer;
    my $error = $tree ? CPAN::TLog::Error->caught($@) : undef;
    my $said  = $error && $error->kind eq 'unlisted' && $self->{said};
    return (
        $said ? (absence => 'not-logged') : (),
        absence_detail => plain($self->name . ': ' . ($error ? $error->message : $self->{detail})),
    );
}

# current returns the tree, opened once a run, or undef. A source that has none is not asked again.
sub current {
    my ($self) = @_;
    return $self->{tree}
        if $self->{opened} && (!$self->{tree} || abs(time - $self->{opened}) < $REOPEN);
    $self->{opened} = time || 1;
    my $tree = eval { $self->compared(CPAN::TLog::Tree->open($self->{files}, $self->{policy})) };
    if (!$tree) {
        my $error = CPAN::TLog::Error->caught($@);
        $self->{error}  = $error->message if $error->kind eq 'local';
        $self->{detail} = $error->message;

        # A source that cannot be read for a while is as good as it was.
        return $self->{tree} if !defined $self->{error} && !$self->{evidence} && $error->kind eq 'unreachable';
    }

    # If nothing is new, what was read and verified is kept.
    return $self->{tree} if $tree && $self->{tree} && $tree->note->bytes eq $self->{tree}->note->bytes;
    return $self->{tree} = $tree;
}

# compared returns a tree that continues what is remembered. One whose quorum is not met proves nothing, which the
# verifier says of each file, and is not remembered.
sub compared {
    my ($self, $tree) = @_;
    return $tree if !$self->{memory} || !$tree->opened->is_signed || $tree->opened->quorum ne 'met';
    $self->{evidence} = eval { $self->{memory}->remember($self->{policy}, $tree) };
    return $tree if !$@;
    my $error = CPAN::TLog::Error->caught($@);
    die $error if $error->kind eq 'local';
    CPAN::TLog::Error->throw($error->kind => 'it does not show that it continues the tree that was seen before: %s',
        $error->message);
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Source::Tree - a proof tree as a source of proofs

=head1 DESCRIPTION

A L<CPAN::TLog::Tree> that is opened when the first proof is needed: its checkpoint is then verified, and compared with
what is remembered of the log (L<CPAN::TLog::Memory>). All proofs are at this one checkpoint. After five minutes a newer
one is looked for. A source that turns out to have no tree is not asked again.

=head1 METHODS

=head2 new(files => $files, policy => $policy, memory => $memory, said => $boolean)

The L<CPAN::TLog::Files>, and where to remember; C<said> if the files are the log's own, so that its word counts that a
path is not logged.

=head2 fetch($path, $sha256), name, needs_path

As of L<CPAN::TLog::Source>.

=head2 current

The tree, or undef.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
