package CPAN::TLog::File;

use 5.016;
use strict;
use warnings;

use Cwd ();
use Digest::SHA;
use Exporter qw(import);
use Fcntl qw(:mode);
use File::Basename ();
use File::Spec;

use CPAN::TLog::Error;

our $VERSION = '0.001';

our @EXPORT_OK = qw(digest_of path_below read_bounded);

# digest_of returns the SHA-256, in hex, and the size of a file, both of one reading of one descriptor.
sub digest_of {
    my ($file) = @_;
    my $in = opened($file);
    my @before = stat $in or local_failure("$file: $!");
    my $sha  = Digest::SHA->new(256);
    my $size = 0;
    while (1) {
        my $read = sysread $in, my $buffer, 256 * 1024;
        local_failure("$file: $!") if !defined $read;
        last if !$read;
        $size += $read;
        $sha->add($buffer);
    }
    my @after = stat $in or local_failure("$file: $!");
    local_failure("$file changed while it was read: try again when it is complete")
        if S_ISREG($before[2]) && ($size != $after[7] || $before[7] != $after[7] || $before[9] != $after[9]);
    return ($sha->hexdigest, sprintf '%.0f', $size);
}

# read_bounded returns a file's first bytes, so many at most.
sub read_bounded {
    my ($file, $most) = @_;
    my $in    = opened($file);
    my $bytes = q{};
    while (length $bytes < $most) {
        my $read = sysread $in, $bytes, $most - length $bytes, length $bytes;
        local_failure("$file: $!") if !defined $read;
        last if !$read;
    }
    return $bytes;
}

sub opened {
    my ($file) = @_;
    open my $in, '<:raw', $file or local_failure("$file: $!");
    local_failure("$file: not a regular file: it is a folder") if -d $in;
    return $in;
}

# path_below returns a file's path relative to a copy of CPAN, with slashes. A symbolic link on the way from the root to
# the file is refused: the file would then have two paths.
sub path_below {
    my ($root, $file) = @_;
    my $real_root = real($root);
    my $base      = File::Basename::basename($file);
    my $real_file = File::Spec->catfile(real(File::Basename::dirname($file)), $base);
    lstat $real_file or local_failure("$file: $!");
    local_failure("$file is a symbolic link, expected a regular file") if -l _;
    my $path = relative($real_root, $real_file);
    local_failure("$file is not in $root") if !defined $path;

    # As the caller wrote both; they may have reached the root on two ways, which is no matter.
    my $asked = relative(File::Spec->rel2abs($root), File::Spec->rel2abs($file));
    local_failure("by symbolic links, $asked is $path") if defined $asked && $asked ne $path;
    return $path;
}

sub real {
    my ($dir) = @_;
    my $real = -d $dir ? Cwd::realpath($dir) : undef;
    local_failure("$dir: no such folder") if !defined $real;
    return $real;
}

# relative is textual, and so refuses what goes up and down again.
sub relative {
    my ($root, $file) = @_;
    my @root = grep { $_ ne File::Spec->curdir } File::Spec->splitdir(File::Spec->canonpath($root));
    my @file = grep { $_ ne File::Spec->curdir } File::Spec->splitdir(File::Spec->canonpath($file));
    @root = grep { length } @root;
    @file = grep { length } @file;
    return if grep { $_ eq File::Spec->updir } @root, @file;
    for my $part (@root) {
        return if !@file || shift(@file) ne $part;
    }
    return @file ? join(q{/}, @file) : undef;
}

sub local_failure { CPAN::TLog::Error->throw('local', $_[0]) }

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::File - local files as a log has entries of them

=head1 DESCRIPTION

All functions die with a L<CPAN::TLog::Error> of kind C<local>. Nothing is exported unless asked for.

=head1 FUNCTIONS

=head2 digest_of($file)

The SHA-256, in hex, and the size of a file, which must not change meanwhile.

=head2 path_below($root, $file)

The file's path relative to the root of a copy of CPAN. Symbolic links from there on are refused.

=head2 read_bounded($file, $most)

The first bytes of a file.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
