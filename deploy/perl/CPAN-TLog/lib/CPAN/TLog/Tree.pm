package CPAN::TLog::Tree;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256);

use CPAN::TLog::Bundle;
use CPAN::TLog::Encoding qw(compare_decimals is_number);
use CPAN::TLog::Entry;
use CPAN::TLog::Error;
use CPAN::TLog::Note;
use CPAN::TLog::PathIndex;

our $VERSION = '0.001';

# How many bytes of what was read and verified are kept.
our $MAX_CACHE = 64 * 1024 * 1024;

my $WIDTH     = 256;
my $MAX_ENTRY = 65_535;

# open reads the checkpoint of a tree and verifies it. All that is read from then on must be what the checkpoint
# implies, however the files change meanwhile.
sub open { ## no critic (ProhibitBuiltinHomonyms)
    my ($class, $files, $policy) = @_;
    my $note = $files->get('checkpoint', $CPAN::TLog::Note::MAX_SIZE)
        // CPAN::TLog::Error->throw(incomplete => 'there is no checkpoint in %s', $files->name);
    my $opened = eval { $policy->open($note) }
        // invalid('its checkpoint: %s', CPAN::TLog::Error->caught($@)->message);

    # Up to 15 digits a double is exact, with the perls that have no integers of 64 bits.
    invalid('it has %s entries, and this program reads up to %s', $opened->size, '9' x 15) if !is_number($opened->size);
    return bless { files => $files, policy => $policy, opened => $opened, size => 0 + $opened->size,
        kept => {}, order => [], bytes => 0 }, $class;
}

sub opened { return $_[0]{opened} }
sub note   { return $_[0]{opened}->note }

sub invalid {
    my ($format, @args) = @_;
    CPAN::TLog::Error->throw(invalid => "the proof tree does not verify: $format", @args);
}

# proofs_of returns what the verifier takes for a path: the bundle, and those of a void and of a deletion if there are
# such. That a path is not listed is an error of the kind unlisted.
sub proofs_of {
    my ($self, $path, $sha256) = @_;
    my ($kind, $wrong) = CPAN::TLog::Entry::kind_of($path);
    invalid('%s', $wrong) if $wrong;
    my $name = CPAN::TLog::PathIndex::shard_name($path);

    # What is listed beyond the checkpoint's tree is newer.
    my @indexes = grep { compare_decimals($_, $self->{opened}->size) < 0 }
        $self->indexes_of($name, $path);
    my ($main, $void, $deletion) =
        CPAN::TLog::PathIndex::choose($path, $sha256, \@indexes, sub { $self->listed($name, $path, $_[0]) });
    CPAN::TLog::Error->throw(unlisted => '%s has no %s among the first %s entries', $name, $path, $self->{opened}->size)
        if !defined $main;
    my %index = (bundle => $main, revocation => $void, deletion => $deletion);
    return map { $_ => $self->bundle($index{$_}) } grep { defined $index{$_} } sort keys %index;
}

sub indexes_of {
    my ($self, $name, $path) = @_;
    my $text = $self->keep($name, sub {
        my $text = $self->{files}->get($name, $CPAN::TLog::PathIndex::MAX_SHARD) // missing($name);
        return (\$text, length $text);
    });
    my @indexes;
    return @indexes if eval { @indexes = CPAN::TLog::PathIndex::indexes_of($name, $text, $path); 1 };

    # One that is damaged is read again.
    my $error = $@;
    $self->drop($name);
    die $error;
}

# listed reads an entry that a shard lists, if it may do so.
sub listed {
    my ($self, $name, $path, $index) = @_;
    my $entry = eval { CPAN::TLog::Entry->parse($self->entry($index)) };
    if (!$entry) {
        my $error = CPAN::TLog::Error->caught($@);
        return if $error->kind eq 'upgrade';
        die $error if $error->kind ne 'malformed';
        invalid('entry %s: %s', $index, $error->message);
    }
    invalid('%s lists entry %s as one of %s, and it is of %s', $name, $index, $path, $entry->path)
        if $entry->path ne $path;
    invalid('%s lists entry %s, a %s', $name, $index, $entry->kind) if $entry->kind eq 'conflict';
    return $entry;
}

# bundle returns the proof of an entry.
sub bundle {
    my ($self, $index) = @_;
    return CPAN::TLog::Bundle->new(
        entry      => $self->entry($index),
        index      => $index,
        hashes     => [$self->inclusion($index)],
        checkpoint => $self->note->bytes,
    )->bytes;
}

sub entry {
    my ($self, $index) = @_;
    my $n = int($index / $WIDTH);
    return $self->entries($n)->[$index - $n * $WIDTH];
}

# entries returns the entries of a file of them, each compared with its leaf hash.
sub entries {
    my ($self, $n) = @_;
    return $self->keep("entries $n", sub {
        my $leaves = $self->tile(0, $n);
        my ($name, $bytes, $width) = $self->fetch('entries', $n, scalar @{$leaves});
        my @entries;
        my $at = 0;
        for my $i (0 .. $width - 1) {
            invalid('%s ends within or after entry %d', $name, $i) if $at + 2 > length $bytes;
            my $length = unpack 'n', substr $bytes, $at, 2;
            invalid('%s ends within entry %d', $name, $i) if $at + 2 + $length > length $bytes;
            push @entries, substr $bytes, $at + 2, $length;
            $at += 2 + $length;
        }
        invalid('%s has %d bytes after its last entry', $name, length($bytes) - $at) if $at != length $bytes;
        splice @entries, scalar @{$leaves};
        for my $i (0 .. $#entries) {
            invalid('%s: entry %d is not the one of the tree', $name, $i) if sha256("\x00$entries[$i]") ne $leaves->[$i];
        }
        return (\@entries, length($bytes) + 64 * @entries);
    });
}

# inclusion is the proof of an entry (RFC 6962 section 2.1.1), the hash beside the leaf first.
sub inclusion {
    my ($self, $index) = @_;
    my ($from, $to, @hashes) = (0, $self->{size});
    while ($to - $from > 1) {
        my $middle = $from + split_of($to - $from);
        if ($index < $middle) {
            unshift @hashes, $self->root_of_range($middle, $to);
            $to = $middle;
        }
        else {
            unshift @hashes, $self->root_of_range($from, $middle);
            $from = $middle;
        }
    }
    return @hashes;
}

# consistency is the proof that the tree of an older size is where this one begins (RFC 6962 section 2.1.2).
sub consistency {
    my ($self, $size) = @_;
    my ($from, $to, @hashes) = (0, $self->{size});
    return if $size == 0 || $size == $to;
    while ($size < $to) {
        my $middle = $from + split_of($to - $from);
        if ($size <= $middle) {
            unshift @hashes, $self->root_of_range($middle, $to);
            $to = $middle;
        }
        else {
            unshift @hashes, $self->root_of_range($from, $middle);
            $from = $middle;
        }
    }
    return ($from > 0 ? $self->root_of_range($from, $to) : (), @hashes);
}

# prefix_root is the root of the tree of the first entries, so many.
sub prefix_root {
    my ($self, $size) = @_;
    return $size == 0 ? sha256(q{}) : $self->root_of_range(0, $size);
}

# split_of is the largest power of two below a number.
sub split_of {
    my ($n) = @_;
    my $k = 1;
    $k *= 2 while $k * 2 < $n;
    return $k;
}

# root_of_range hashes the leaves from one up to another. Ranges are those that RFC 6962 splits a tree into, so that
# one whose length is a power of two is a node of the tree.
sub root_of_range {
    my ($self, $from, $to) = @_;
    my ($level, $length) = (0, 1);
    while ($length < $to - $from) {
        $level++;
        $length *= 2;
    }
    return $self->node($level, $from / $length) if $length == $to - $from;
    my $middle = $from + $length / 2;
    return sha256("\x01" . $self->root_of_range($from, $middle) . $self->root_of_range($middle, $to));
}

sub node {
    my ($self, $level, $n) = @_;
    my $tiles = int($level / 8);
    my $count = 2**($level - 8 * $tiles);
    my $first = $n * $count;
    my $tile  = int($first / $WIDTH);
    $first -= $tile * $WIDTH;
    return root_of(@{$self->tile($tiles, $tile)}[$first .. $first + $count - 1]);
}

# root_of hashes together the neighbours on one level. What has no right neighbour goes up as it is, which is what
# RFC 6962 says in other words.
sub root_of {
    my (@hashes) = @_;
    while (@hashes > 1) {
        my @above;
        push @above, sha256("\x01" . shift(@hashes) . shift @hashes) while @hashes > 1;
        @hashes = (@above, @hashes);
    }
    return $hashes[0];
}

# width is how many hashes a level has: only those of full tiles below.
sub width { return int($_[0]{size} / $WIDTH**$_[1]) }

# tile returns the verified hashes of a tile. A full tile's hash stands in the tile above it, which is verified first;
# the partial ones together make the root.
sub tile {
    my ($self, $level, $n) = @_;
    my $width = $self->width($level) - $n * $WIDTH;
    return $self->edge->{$level} if $width < $WIDTH;
    return $self->keep("$level $n", sub {
        my $above  = int($n / $WIDTH);
        my $hash   = $self->tile($level + 1, $above)->[$n - $above * $WIDTH];
        my $hashes = $self->hashes($level, $n, $WIDTH);
        invalid('%s does not have the hash that the level above it has', tile_name($level, $n, $WIDTH))
            if root_of(@{$hashes}) ne $hash;
        return ($hashes, 64 * $WIDTH);
    });
}

# edge returns the partial tiles at the right edge of the tree, by their level.
sub edge {
    my ($self) = @_;
    return $self->{edge} if $self->{edge};
    my (%edge, $root);
    for (my $level = 0; $self->width($level) > 0; $level++) {
        my $width = $self->width($level);
        my $n     = int($width / $WIDTH);
        $width -= $n * $WIDTH;
        next if !$width;    # all of this level hangs below full tiles
        $edge{$level} = $self->hashes($level, $n, $width);

        # What lies below and to the right covers less than one hash of this tile, and stands where its next would.
        $root = root_of(@{$edge{$level}}, defined $root ? $root : ());
    }
    invalid(q{the right edge of the tree does not have the checkpoint's root})
        if ($root // sha256(q{})) ne $self->{opened}->root;
    return $self->{edge} = \%edge;
}

# hashes reads a hash tile. Nothing is verified.
sub hashes {
    my ($self, $level, $n, $width) = @_;
    my ($name, $bytes, $found) = $self->fetch($level, $n, $width);
    invalid('%s has %d bytes, expected %d', $name, length $bytes, 32 * $found) if length $bytes != 32 * $found;
    return [unpack '(a32)' . $width, $bytes];
}

# fetch reads a file of the tree, or a wider one in its place, and returns its name, its bytes and its width.
sub fetch {
    my ($self, $level, $n, $width) = @_;
    my $each = $level eq 'entries' ? 2 + $MAX_ENTRY : 32;
    my @widths = $width;
    while (@widths) {
        my $try   = shift @widths;
        my $name  = tile_name($level, $n, $try);
        my $bytes = $self->{files}->get($name, $try * $each);
        return ($name, $bytes, $try) if defined $bytes;

        # The source has gone on: of a partial tile there may be a wider one, or the full one alone (C2SP
        # tlog-tiles, "Partial Tiles"). It begins with the same hashes.
        push @widths, $self->wider($level, $n, $width), $WIDTH if $try == $width && $width < $WIDTH;
    }
    return missing(tile_name($level, $n, $width));
}

# wider returns the width of the tile by the checkpoint that the source has now, if that is a wider one and not full.
sub wider {
    my ($self, $level, $n, $width) = @_;
    my $now = eval { CPAN::TLog::Tree->open($self->{files}, $self->{policy}) };
    return if !$now || $now->opened->origin ne $self->{opened}->origin;
    my $wider = $now->width($level eq 'entries' ? 0 : $level) - $n * $WIDTH;
    return $wider > $width && $wider < $WIDTH ? $wider : ();
}

sub missing { CPAN::TLog::Error->throw(incomplete => 'there is no %s', $_[0]) }

# tile_name is the path of a tile or of a file of entries: its number in groups of three digits, and its width unless
# it is full (C2SP tlog-tiles).
sub tile_name {
    my ($level, $n, $width) = @_;
    my $digits = sprintf '%.0f', $n;
    $digits = '0' x (-length($digits) % 3) . $digits;
    my @groups = $digits =~ /([0-9]{3})/ag;
    $_ = "x$_" for @groups[0 .. $#groups - 1];
    return join(q{/}, 'tile', $level, @groups) . ($width == $WIDTH ? q{} : ".p/$width");
}

# keep returns what was kept under a name, or what the function makes, which is then kept. The oldest goes first.
sub keep {
    my ($self, $name, $make) = @_;
    my $kept = $self->{kept};
    return $kept->{$name}[0] if $kept->{$name};
    my ($value, $bytes) = $make->();
    return $value if $bytes > $MAX_CACHE;
    $kept->{$name} = [$value, $bytes];
    push @{$self->{order}}, $name;
    $self->{bytes} += $bytes;
    $self->drop($self->{order}[0]) while $self->{bytes} > $MAX_CACHE;
    return $value;
}

sub drop {
    my ($self, $name) = @_;
    my $dropped = delete $self->{kept}{$name} or return;
    $self->{bytes} -= $dropped->[1];
    @{$self->{order}} = grep { $_ ne $name } @{$self->{order}};
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Tree - proofs from the static files of a log

=head1 SYNOPSIS

    my $files = CPAN::TLog::Files->at('https://mirror.example/CPAN/modules/tlog');
    my $tree  = CPAN::TLog::Tree->open($files, $policy);
    my %proof = $tree->proofs_of('authors/id/E/ET/ETHER/Try-Tiny-0.31.tar.gz', $sha256);
    my $result = CPAN::TLog::Verify->verify(%request, %proof);

=head1 DESCRIPTION

A proof tree is files from which anyone builds any proof at one checkpoint, and tells nobody which: the checkpoint, the
hashes of the log's tree, its entries (C2SP tlog-tiles), and an index of paths (L<CPAN::TLog::PathIndex>). Logs
serve one, and mirrors of CPAN may carry one as F<modules/tlog>.

    checkpoint                the newest checkpoint, with all signature lines
    tile/<L>/<N>[.p/<W>]      the tree
    tile/entries/<N>[.p/<W>]  the entries, 256 in a file
    paths/<xx>                the index

The signatures of the checkpoint are verified when a tree is opened. Hashes and entries are compared with the
checkpoint's root, and the proofs are for L<CPAN::TLog::Verify> to believe. What was read is kept, up to 64 MiB. A tree
can have up to 10^15-1 entries.

=head1 METHODS

=head2 open($files, $policy)

Opens the tree of these L<CPAN::TLog::Files>. Dies with a L<CPAN::TLog::Error>: of kind C<incomplete> if there is no
checkpoint, C<invalid> if there is none that the policy's log signed, or C<unreachable>.

=head2 proofs_of($path, $sha256)

Returns C<bundle>, C<revocation> and C<deletion> for a file of this path and digest, the latter two if there are such.
Of kind C<unlisted> is the error if the path is not in the index; it may also be C<incomplete>, C<invalid> or
C<unreachable>. None of these says anything of the log: any mirror can lose a file or flip a bit.

=head2 opened, note

The checkpoint: a L<CPAN::TLog::Opened>, and its L<CPAN::TLog::Note>.

=head2 bundle($index), entry($index)

The proof of an entry, and its bytes.

=head2 inclusion($index), consistency($size), prefix_root($size)

The hashes of proofs, and the root of the first entries. The size must be at most that of the tree.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
