package CPAN::TLog::Policy;

use 5.016;
use strict;
use warnings;

use File::Spec;

use CPAN::TLog::Encoding qw(is_decimal quote);
use CPAN::TLog::Error;
use CPAN::TLog::File qw(read_bounded);
use CPAN::TLog::Key;
use CPAN::TLog::Note;
use CPAN::TLog::Opened;

our $VERSION = '0.001';

our $MAX_SIZE = 1024 * 1024;

# parse reads a policy (C2SP tlog-policy). Only space and tab separate, so that the meaning of a policy depends on no
# version of Unicode.
sub parse {
    my ($class, $bytes) = @_;
    CPAN::TLog::Error->throw(policy => 'invalid policy: %d bytes, expected at most %d', length $bytes, $MAX_SIZE)
        if length $bytes > $MAX_SIZE;
    my $self = bless { logs => [], witnesses => [], nodes => [], node_of => {}, keys => {}, opened => {} }, $class;
    my $seen = { member_of => {}, log => {}, witness => {} };
    my @lines = split /\n/, $bytes, -1;
    my $rest  = @lines ? pop @lines : q{};
    my $number = 0;
    for my $line (@lines) {
        $number++;
        $self->parse_line($seen, $number, $line);
    }
    $seen->{line} = $number + 1;
    wrong($seen, 'does not end in a newline; is the file complete?') if length $rest;
    CPAN::TLog::Error->throw(policy => 'invalid policy: expected a quorum line, found none') if !$seen->{quorum};
    return $self;
}

sub parse_line {
    my ($self, $seen, $number, $line) = @_;
    $seen->{line} = $number;
    wrong($seen, 'found control character 0x%02x; lines end in LF alone', ord $1)
        if $line =~ /([\x00-\x08\x0A-\x1F\x7F])/;
    my ($word, @args) = grep { length } split /[ \t]+/, $line;
    return if !defined $word || $word =~ /\A#/a;
    return $self->parse_log($seen, @args)     if $word eq 'log';
    return $self->parse_witness($seen, @args) if $word eq 'witness';
    return $self->parse_group($seen, @args)   if $word eq 'group';
    return $self->parse_quorum($seen, @args)  if $word eq 'quorum';
    wrong($seen, 'expected log, witness, group, quorum or a comment, found %s', quote($word));
}

sub parse_log {
    my ($self, $seen, @args) = @_;
    wrong($seen, 'expected log <vkey> [<url>], found %d items after log', scalar @args) if @args < 1 || @args > 2;
    my $key = key($seen, $args[0]);

    # 0x04 is for cosigners other than the log.
    wrong($seen, 'expected a log key of type 0x01 or 0x06, found %s', $key->type_name) if $key->type == 4;
    wrong($seen, 'the public key of %s is already that of another log line', quote($key->name))
        if $seen->{log}{$key->public}++;
    $self->register($seen, $key)->{log} = 1;
    push @{$self->{logs}}, { key => $key, url => $args[1] };
    return;
}

sub parse_witness {
    my ($self, $seen, @args) = @_;
    wrong($seen, 'expected witness <name> <vkey> [<url>], found %d items after witness', scalar @args)
        if @args < 2 || @args > 3;
    my ($name, $vkey, $url) = @args;
    $self->check_new($seen, $name);
    my $key = key($seen, $vkey);

    # A signature of type 0x01 has no time: it is what a log says, and not what a witness has seen.
    wrong($seen, 'expected a witness key of type 0x04 or 0x06, found %s', $key->type_name) if $key->type == 1;

    # Listed twice, one signer would be two votes.
    wrong($seen, 'the public key of witness %s is already that of another witness', quote($name))
        if $seen->{witness}{$key->public}++;
    $self->register($seen, $key)->{witness} = $name;
    push @{$self->{witnesses}}, { name => $name, key => $key, url => $url };
    $self->define({ name => $name });
    return;
}

sub parse_group {
    my ($self, $seen, @args) = @_;
    wrong($seen, 'expected group <name> (all | any | <k>) <member>..., found %d items after group', scalar @args)
        if @args < 3;
    my ($name, $rule, @members) = @args;
    $self->check_new($seen, $name);
    my $needed = $rule eq 'all' ? @members : $rule eq 'any' ? 1 : $rule;
    wrong($seen, 'expected all, any or a number from 1 to %d, found %s', scalar @members, quote($rule))
        if !is_decimal($needed) || $needed < 1 || $needed > @members;
    my @nodes;
    for my $member (@members) {
        my $node = $self->find($seen, $member);

        # Once in the whole file, so that a witness counts in one way only.
        wrong($seen, '%s is already a member of group %s', quote($member), quote($seen->{member_of}{$member}))
            if defined $seen->{member_of}{$member};
        $seen->{member_of}{$member} = $name;
        push @nodes, $node;
    }
    $self->define({ name => $name, needed => $needed, members => \@nodes });
    return;
}

sub parse_quorum {
    my ($self, $seen, @args) = @_;
    wrong($seen, 'expected quorum (<name> | none), found %d items after quorum', scalar @args) if @args != 1;
    wrong($seen, 'expected one quorum line, found a second') if $seen->{quorum}++;
    $self->{quorum} = $self->find($seen, $args[0]) if $args[0] ne 'none';
    return;
}

sub key {
    my ($seen, $vkey) = @_;
    my $key = eval { CPAN::TLog::Key->parse($vkey) };
    wrong($seen, '%s', CPAN::TLog::Error->caught($@)->message) if !$key;
    return $key;
}

# register makes a key known. Two keys of one name and id would leave open whose a line is.
sub register {
    my ($self, $seen, $key) = @_;
    my $known = $self->{keys}{$key->label} ||= { key => $key };
    wrong($seen, 'another key has the name and id %s too', quote($key->label))
        if $known->{key}->as_string ne $key->as_string;
    return $known;
}

sub check_new {
    my ($self, $seen, $name) = @_;
    wrong($seen, '"none" is predefined and cannot be defined') if $name eq 'none';
    wrong($seen, '%s is already defined; witnesses and groups share their names', quote($name))
        if exists $self->{node_of}{$name};
    return;
}

sub define {
    my ($self, $node) = @_;
    push @{$self->{nodes}}, $node;
    $self->{node_of}{$node->{name}} = $node;
    return;
}

sub find {
    my ($self, $seen, $name) = @_;
    return $self->{node_of}{$name}
        || wrong($seen, 'expected a witness or group of an earlier line, found %s', quote($name));
}

sub wrong {
    my ($seen, $format, @args) = @_;
    CPAN::TLog::Error->throw(policy => "invalid policy: line %d: $format", $seen->{line}, @args);
}

sub logs        { return @{$_[0]{logs}} }
sub witnesses   { return @{$_[0]{witnesses}} }
sub quorum_none { return !$_[0]{quorum} }

sub knows_origin {
    my ($self, $origin) = @_;
    return scalar grep { $_->{key}->name eq $origin } $self->logs;
}

# known returns what the policy has under a signature line's name and id, or undef.
sub known {
    my ($self, $line) = @_;
    return $self->{keys}{"$line->{name}+$line->{id}"};
}

# satisfied reports whether the quorum is met by the witnesses for whose names signed is true. Members are defined
# before their groups, so that one pass does, however deep a file nests them.
sub satisfied {
    my ($self, $signed) = @_;
    return 1 if $self->quorum_none;
    my %met;
    for my $node (@{$self->{nodes}}) {
        my $met = $node->{members}
            ? $node->{needed} <= grep { $met{$_->{name}} } @{$node->{members}}
            : $signed->($node->{name});
        $met{$node->{name}} = $met;
    }
    return $met{$self->{quorum}{name}} ? 1 : 0;
}

# open verifies a signed checkpoint. Many files share one, and so what came out is kept by its bytes: also that
# one does not verify, which a stranger could otherwise have calculated again for each file.
sub open { ## no critic (ProhibitBuiltinHomonyms)
    my ($self, $bytes) = @_;
    my $kept = $self->{opened};
    if (!$kept->{$bytes}) {
        my $opened = eval { CPAN::TLog::Opened->new($self, CPAN::TLog::Note->parse($bytes)) }
            || CPAN::TLog::Error->caught($@);
        die $opened if $opened->isa('CPAN::TLog::Error') && $opened->kind eq 'local';
        %{$kept} = () if keys %{$kept} >= 32;
        $kept->{$bytes} = $opened;
    }
    die $kept->{$bytes} if $kept->{$bytes}->isa('CPAN::TLog::Error');
    return $kept->{$bytes};
}

sub read_file {
    my ($class, $file) = @_;
    return $class->parse(read_bounded($file, $MAX_SIZE + 1));
}

# find_file returns the policy's file of this user or this machine: never one from a mirror or the network.
sub find_file {
    return $ENV{CPAN_TLOG_POLICY} if defined $ENV{CPAN_TLOG_POLICY} && length $ENV{CPAN_TLOG_POLICY};
    return (grep { -e } candidates())[0];
}

# candidates are the places that are looked at. The XDG specification has relative values ignored.
sub candidates {
    my @dirs;
    my ($config, $home) = @ENV{qw(XDG_CONFIG_HOME HOME)};
    if (defined $config && File::Spec->file_name_is_absolute($config)) {
        push @dirs, $config;
    }
    elsif (defined $home && File::Spec->file_name_is_absolute($home)) {
        push @dirs, File::Spec->catdir($home, '.config');
    }
    return map { File::Spec->catfile($_, 'pauselog', 'policy') } @dirs, File::Spec->catdir(File::Spec->rootdir, 'etc');
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Policy - which log and which witnesses are trusted (C2SP tlog-policy)

=head1 SYNOPSIS

    my $policy = CPAN::TLog::Policy->read_file('/etc/pauselog/policy');
    my $opened = $policy->open($note);

=head1 DESCRIPTION

A policy is a text:

    log log.example/pause+13830bfb+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
    witness w1 witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU
    witness w2 ...
    witness w3 ...
    group two 2 w1 w2 w3
    quorum two

A checkpoint needs a signature of one of the logs, and cosignatures of the quorum. With C<quorum none> the log's word
is enough.

=head1 METHODS

=head2 parse($bytes), read_file($file)

Returns the policy, or dies with a L<CPAN::TLog::Error>.

=head2 find_file

The policy's file if none is named: that in the environment variable C<CPAN_TLOG_POLICY>; or else, the first that
exists, F<pauselog/policy> in C<$XDG_CONFIG_HOME> (which is F<~/.config> if it is not set), or in F</etc>. C<candidates>
lists the latter two.

=head2 open($bytes)

Takes a signed checkpoint apart, verifies every signature line of a key of the policy, and returns a
L<CPAN::TLog::Opened>. It dies with a L<CPAN::TLog::Error> of kind C<malformed>, C<extension>, C<unknown-log> or
C<bad-signature>: a line of a known key that does not verify refuses the note, even if all would be well without it.

=head2 logs, witnesses

Hashes with C<key>, C<url> and, of a witness, C<name>.

=head2 quorum_none, knows_origin($origin), known($line), satisfied($signed)

Whether no witness is needed; whether there is a log of that name; what the policy knows under a signature line's
name and id; and whether the witnesses for whose names the function is true make the quorum.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
