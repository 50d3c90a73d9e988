package CPAN::TLog::Evidence;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

use CPAN::TLog::Encoding qw(encode_base64);

our $VERSION = '0.001';

my $HEADER = 'pauselog-evidence/v1';

# of_roots is for two notes of one log and size with different roots, of_entries for two bundles that prove
# different entries at one index. Whoever calls them has verified both.
sub of_roots {
    my ($class, $first, $second) = @_;
    my $summary = sprintf '%s signed two roots for size %s: %s and %s',
        $first->origin, $first->size, $first->root_base64, $second->root_base64;
    return bless { kind => 'roots', documents => [$first->bytes, $second->bytes], summary => $summary }, $class;
}

sub of_entries {
    my ($class, $first, $second, @sizes) = @_;
    my $summary = sprintf '%s signed trees of size %s and %s that have different entries at index %s',
        @sizes, $first->index;
    return bless { kind => 'entries', documents => [$first->bytes, $second->bytes], summary => $summary }, $class;
}

# of_prefix is for two notes of one log and different sizes, the root that the newer tree's first entries have, and the
# hashes that lead from there to the newer root.
sub of_prefix {
    my ($class, $older, $newer, $prefix, @hashes) = @_;
    my $root    = encode_base64($prefix);
    my $summary = sprintf '%s signed root %s for size %s, and a tree of size %s whose first %s entries have root %s',
        $older->origin, $older->root_base64, $older->size, $newer->size, $older->size, $root;
    my $lines = join q{}, "prefix $root\n", map { 'hash ' . encode_base64($_) . "\n" } @hashes;
    return bless { kind => 'prefix', documents => [$older->bytes, $newer->bytes], lines => $lines, summary => $summary },
        $class;
}

sub kind    { return $_[0]{kind} }
sub summary { return $_[0]{summary} }

# text is what is mailed, archived and read. Each line of an embedded document stands behind a bar, so that no document
# can look like the text around it.
sub text {
    my ($self) = @_;
    my $text    = "$HEADER\nkind $self->{kind}\n";
    my $keyword = $self->{kind} eq 'entries' ? 'bundle' : 'note';
    for my $document (@{$self->{documents}}) {
        $text .= "$keyword\n" . $document =~ s/^/| /gmr;
    }
    return $text . ($self->{lines} // q{});
}

# file_name is decided by the content, so that one contradiction that is found a thousand times is one file.
sub file_name {
    my ($self) = @_;
    return sprintf 'pauselog-evidence-%s.txt', substr sha256_hex($self->text), 0, 12;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Evidence - what convicts a log

=head1 DESCRIPTION

Two statements, each validly signed by one log, that contradict each other. They convince whoever has the log's public
key, and need no trust in the one who hands them over. C<pauselog> reads and checks the text.

=head1 METHODS

=head2 of_roots($note, $note)

Of two L<CPAN::TLog::Note>s of one size with different roots.

=head2 of_entries($bundle, $bundle, $origin, $size, $size)

Of two L<CPAN::TLog::Bundle>s that prove different entries at one index.

=head2 of_prefix($older, $newer, $root, @hashes)

Of two L<CPAN::TLog::Note>s of different sizes, the root that the newer tree has for its first entries, as many as the
older one has, and the consistency proof that leads from there to the newer root.

=head2 kind, summary, text, file_name

C<roots>, C<entries> or C<prefix>; one sentence; the evidence file and its name.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
