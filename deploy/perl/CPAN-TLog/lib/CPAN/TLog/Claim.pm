package CPAN::TLog::Claim;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(encode_base64 quote);
use CPAN::TLog::Entry;
use CPAN::TLog::Error;

our $VERSION = '0.001';

# examine takes a bundle through all steps up to the entry, over raw bytes as long as possible. A quorum that is not
# met does not end it, because worse may follow, but then nothing of it is proven.
sub examine {
    my ($class, $policy, $text) = @_;
    my $self = bless { policy => $policy, checks => [], quorum => 'unmet' }, $class;
    $self->{bundle} = eval { CPAN::TLog::Bundle->parse($text) } or return $self->fail('bundle', $@);
    my $bundle = $self->{bundle};
    $self->pass('bundle', '%d bytes, entry %s, %d hashes', length $text, $bundle->index, scalar $bundle->hashes);

    my $opened = eval { $policy->open($bundle->checkpoint) } or return $self->fail('checkpoint', $@);
    $self->{opened} = $opened;
    $self->{quorum} = $opened->quorum;
    $self->check('checkpoint', $opened->is_signed, '%s, size %s, root %s%s', $opened->origin, $opened->size,
        encode_base64($opened->root),
        $opened->is_signed ? q{} : '; the log signed with ML-DSA only, which this program cannot verify');

    eval { $bundle->verify($opened->size, $opened->root) } or return $self->fail('inclusion', $@);
    $self->pass('inclusion', 'entry %s of %s', $bundle->index, $opened->size);
    $self->check('quorum', $self->{quorum} eq 'met', '%s',
          $policy->quorum_none       ? 'none needed'
        : $self->{quorum} eq 'met'   ? scalar($opened->cosignatures) . ' cosignatures of known witnesses'
        : $self->{quorum} eq 'unmet' ? unmet($policy, $opened)
        :                              'it depends on ML-DSA signatures, which this program cannot verify');

    # Parsing what nobody vouches for would tell an attacker's story.
    return $self if !$opened->is_signed;
    $self->{included} = 1;
    $self->{entry} = eval { CPAN::TLog::Entry->parse($bundle->entry) } or return $self->fail('entry', $@);
    $self->pass('entry', '%s %s', $self->{entry}->kind, $self->{entry}->path);
    return $self;
}

sub unmet {
    my ($policy, $opened) = @_;
    return sprintf q{quorum of witnesses not met: %s, size %s: found cosignatures of %d of the policy's %d witnesses},
        quote($opened->origin), $opened->size, scalar $opened->cosignatures, scalar $policy->witnesses;
}

sub pass {
    my ($self, $name, $format, @args) = @_;
    return $self->check($name, 1, $format, @args);
}

sub check {
    my ($self, $name, $ok, $format, @args) = @_;
    push @{$self->{checks}}, { name => $name, ok => $ok ? 1 : 0, detail => sprintf $format, @args };
    return;
}

sub fail {
    my ($self, $name, $error) = @_;
    $self->{failed} = $name;
    $self->{error}  = CPAN::TLog::Error->caught($error);
    $self->check($name, 0, '%s', $self->{error}->message);
    return $self;
}

sub bundle   { return $_[0]{bundle} }
sub opened   { return $_[0]{opened} }
sub entry    { return $_[0]{entry} }
sub quorum   { return $_[0]{quorum} }
sub checks   { return @{$_[0]{checks}} }
sub failed   { return $_[0]{failed} }
sub error    { return $_[0]{error} }
sub included { return $_[0]{included} }

# is_signed says whether there is a checkpoint that is the log's, for all that this program can verify.
sub is_signed { return $_[0]{opened} && $_[0]{opened}->is_signed }

# undecided says whether nothing is wrong but that signatures matter which this program cannot verify.
sub undecided {
    my ($self) = @_;
    return !$self->{failed} && $self->{quorum} ne 'unmet' && !($self->is_signed && $self->{quorum} eq 'met');
}

# unproven returns why the entry is not proven under the policy, or undef.
sub unproven {
    my ($self) = @_;
    return $self->{error}->message if $self->{failed};
    return if $self->is_signed && $self->{quorum} eq 'met';
    return $self->{quorum} eq 'unmet' ? 'the quorum of witnesses is not met'
        : 'it depends on ML-DSA signatures, which this program cannot verify';
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Claim - a bundle on its way from bytes to a proven entry

=head1 DESCRIPTION

A bundle is believed in steps. It is taken apart; its checkpoint is verified under the policy; the entry's raw bytes are
found to be a leaf of the checkpoint's tree; the quorum of witnesses is counted; and only then is the entry parsed.

=head1 METHODS

=head2 examine($policy, $text)

Takes a bundle through all steps. It never dies.

=head2 bundle, opened, entry, quorum

What was found: a L<CPAN::TLog::Bundle>, a L<CPAN::TLog::Opened> and a L<CPAN::TLog::Entry>, each undef if it was not
reached; and C<met>, C<unmet> or C<unknown>.

=head2 checks, failed, error

The checks that were made, hashes with C<name>, C<ok> and C<detail>; the one that failed, and why.

=head2 included, is_signed, undecided, unproven

How far the bundle can be believed.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
