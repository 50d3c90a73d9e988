package CPAN::TLog::PathIndex;

use 5.016;
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

use CPAN::TLog::Encoding qw(compare_decimals fits_63_bits quote);
use CPAN::TLog::Entry;
use CPAN::TLog::Error;

our $VERSION = '0.001';

our $MAX_SHARD     = 16 * 1024 * 1024;
our $MAX_SNAPSHOTS = 100;

# The first number that no entry can have as its index.
my $NO_INDEX = '9223372036854775807';

sub shard_name { return 'paths/' . substr sha256_hex($_[0]), 0, 2 }

# check dies unless a text is the shard of this name, in its one form: lines of index and path, sorted by path and then
# by index, and of an index file's path the newest hundred at most.
sub check {
    my ($name, $text) = @_;
    my ($last, $last_index, $count, $number) = (q{}, undef, 0, 0);
    pos(${$text}) = 0;
    while (pos(${$text}) < length ${$text}) {
        $number++;
        ${$text} =~ /\G([^\n]*)\n/gc or bad($name, $number, 'it does not end in a newline');
        my ($index, $path) = split / /, $1, 2;
        bad($name, $number, 'expected an index and a path, found %s', quote($1))
            if !defined $path || !fits_63_bits($index) || $index eq $NO_INDEX;
        if ($number > 1 && $path eq $last) {
            bad($name, $number, 'index %s comes after %s of the same path', $index, $last_index)
                if compare_decimals($last_index, $index) >= 0;
            bad($name, $number, 'there are over %d entries of %s', $MAX_SNAPSHOTS, $path)
                if ++$count > $MAX_SNAPSHOTS && is_index($path);
        }
        else {
            my ($kind, $wrong) = CPAN::TLog::Entry::kind_of($path);
            bad($name, $number, '%s', $wrong) if $wrong;
            bad($name, $number, '%s belongs into %s', $path, shard_name($path)) if shard_name($path) ne $name;
            bad($name, $number, '%s comes after %s', $path, $last) if $number > 1 && $last ge $path;
            $count = 1;
        }
        ($last, $last_index) = ($path, $index);
    }
    return 1;
}

sub bad {
    my ($name, $number, $format, @args) = @_;
    CPAN::TLog::Error->throw(invalid => "the proof tree does not verify: %s, line %d: $format", $name, $number, @args);
}

sub is_index { return (CPAN::TLog::Entry::kind_of($_[0]))[0] eq 'index' }

# indexes_of returns what a shard lists of a path. All of it is a hint, and so most of a shard is not looked at. That
# it lists nothing of a path is believed of a shard that is one.
sub indexes_of {
    my ($name, $text, $path) = @_;
    my ($find, $at, @indexes) = (" $path\n", 0);
    while ((my $end = index ${$text}, $find, $at) >= 0) {
        my $start = rindex(${$text}, "\n", $end) + 1;
        my $index = substr ${$text}, $start, $end - $start;
        if (   !fits_63_bits($index) || $index eq $NO_INDEX
            || (@indexes && ($start != $at || compare_decimals($indexes[-1], $index) >= 0))
            || (@indexes == $MAX_SNAPSHOTS && is_index($path)))
        {
            check($name, $text);
            return;
        }
        push @indexes, $index;
        $at = $end + length $find;
    }
    check($name, $text) if !@indexes;
    return @indexes;
}

# choose returns which entry a file of this path and digest is verified by, and, if there are such, a void of that entry
# and a later deletion: their indexes. The listed indexes are in the order of the log; the function reads an
# entry, and returns undef if its format is newer than this program. Of an archive it is the newest upload; of an index
# file the newest entry of the digest, or else the newest. A newer format that is listed after these is chosen in their
# place: whoever reads it must be told to upgrade.
sub choose {
    my ($path, $sha256, $indexes, $read) = @_;
    my ($deletion, %void);
    for my $index (reverse @{$indexes}) {
        my $entry = $read->($index);
        return $index if !$entry;
        if (is_index($path)) {
            return $index if $entry->sha256 eq $sha256;
        }
        elsif ($entry->kind eq 'upload') {
            return ($index, $void{$index}, $deletion);
        }
        elsif ($entry->kind eq 'void') {
            $void{$entry->voided} //= $index;
        }
        elsif ($entry->kind eq 'delete') {
            $deletion //= $index;
        }
    }
    return $indexes->[-1] if @{$indexes} && is_index($path);
    CPAN::TLog::Error->throw(invalid => 'the proof tree does not verify: no upload of %s is listed, but %d other entries',
        $path, scalar @{$indexes}) if @{$indexes};
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::PathIndex - which entries of a log are of a path

=head1 DESCRIPTION

A proof tree has an index of paths, in 256 files. F<paths/0f> is the shard of all paths whose SHA-256 begins with C<0f>, in
lines of an entry's index and its path. One who reads a shard does not say which of its thousands of paths
is wanted. Nothing signs a shard: each line is a hint, and what it points to is proven before it is believed.

=head1 FUNCTIONS

=head2 shard_name($path)

The name of the shard that a path belongs to.

=head2 indexes_of($name, \$text, $path)

What a shard of this name lists of a path. It dies with a L<CPAN::TLog::Error> of kind C<invalid> if that is out of order,
and, if there is nothing of the path, unless all of the text is in order.

=head2 check($name, \$text)

Dies unless the text has the one form that a shard of this name has.

=head2 choose($path, $sha256, \@indexes, \&read)

The indexes of the entry that a file is verified by, of its void, and of its deletion.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
