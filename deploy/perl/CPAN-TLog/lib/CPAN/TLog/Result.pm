package CPAN::TLog::Result;

use 5.016;
use strict;
use warnings;

use CPAN::TLog::Encoding qw(encode_base64 is_utf8 plain);
use CPAN::TLog::Findings;
use CPAN::TLog::Outcome;

our $VERSION = '0.001';

sub new {
    my ($class, %value) = @_;
    return bless {
        outcome => 'error', path => q{}, sha256 => '0' x 64, size => '0', message => q{}, expected => q{}, found => q{},
        checks => [], causes => [], next => [], notes => [], %value,
    }, $class;
}

# failed is for what keeps a file from being looked at.
sub failed {
    my ($class, $message, %value) = @_;
    return $class->new(%value, outcome => 'error', message => plain($message));
}

# fail and convict turn a result into one of the outcomes error and misbehaviour: what a source found out about this
# machine, and about the log, whatever the file is.
sub fail {
    my ($self, $message) = @_;
    @{$self}{qw(outcome message expected found causes next)} = ('error', plain($message), q{}, q{}, [], []);
    return $self;
}

sub convict {
    my ($self, $evidence) = @_;
    my %finding = CPAN::TLog::Findings::convicted($evidence);
    @{$self}{qw(outcome evidence)} = ('misbehaviour', $evidence);
    @{$self}{qw(message expected found causes next)} = @finding{qw(message expected found causes next)};
    return $self;
}

sub outcome    { return $_[0]{outcome} }
sub code       { return CPAN::TLog::Outcome::code($_[0]{outcome}) }
sub path       { return $_[0]{path} }
sub sha256     { return $_[0]{sha256} }
sub size       { return $_[0]{size} }
sub index      { return $_[0]{index} }        ## no critic (ProhibitBuiltinHomonyms)
sub entry      { return $_[0]{entry} }
sub checkpoint { return $_[0]{checkpoint} }
sub checks     { return @{$_[0]{checks}} }
sub message    { return $_[0]{message} }
sub expected   { return $_[0]{expected} }
sub found      { return $_[0]{found} }
sub causes     { return @{$_[0]{causes}} }
sub next_steps { return @{$_[0]{next}} }
sub notes      { return @{$_[0]{notes}} }
sub evidence   { return $_[0]{evidence} }

# reason is what a person is told, on as many lines as it takes.
sub reason {
    my ($self, $name) = @_;
    my $text = sprintf "%s: %s: %s\n", plain($name), $self->{outcome}, plain($self->{message});
    for my $of (
        [expected => $self->{expected}], [found => $self->{found}], [perhaps => $self->causes],
        [next => $self->next_steps], [note => $self->notes], [evidence => $self->{evidence_path}],
    ) {
        my ($label, @lines) = @{$of};
        $label .= ':';
        for my $line (grep { defined && length } @lines) {
            $text .= sprintf "  %-9s %s\n", $label, plain($line);
            $label = q{};
        }
    }
    return $text;
}

# explain is what was checked, and whose signatures verified.
sub explain {
    my ($self) = @_;
    my $text = sprintf "%s: %s\n", $self->{outcome}, plain($self->{message});
    $text .= sprintf "  %-6s  %-10s  %s\n", $_->{ok} ? 'ok' : 'FAILED', $_->{name}, plain($_->{detail})
        for $self->checks;
    if (my $opened = $self->{checkpoint}) {
        $text .= "signatures that verify under the policy:\n";
        $text .= sprintf "  log      %s, %s, %s\n", $_->{key}->label, $_->{key}->type_name,
            $_->{time} eq '0' ? 'without a time' : CPAN::TLog::Findings::date_of($_->{time})
            for $opened->log_signatures;
        $text .= sprintf "  witness  %s, %s, %s, %s\n", plain($_->{witness}), $_->{key}->label, $_->{key}->type_name,
            CPAN::TLog::Findings::date_of($_->{time})
            for $opened->cosignatures;
        my $ignored = $opened->ignored;
        $text .= "  $ignored more by keys that the policy does not list, or of ML-DSA: nothing is known of them\n"
            if $ignored;
    }
    $text .= 'note: ' . plain($_) . "\n" for $self->notes;
    return $text;
}

# json is one object, of the same fields whatever the outcome.
sub json {
    my ($self, %more) = @_;
    my $opened = $self->{checkpoint};
    my $entry  = $self->{entry};
    return to_json({
        %more,
        outcome    => $self->{outcome},
        code       => number($self->code),
        path       => length $self->{path} ? $self->{path} : undef,
        sha256     => $self->{sha256},
        size       => number($self->{size}),
        index      => defined $self->{index} ? number($self->{index}) : undef,
        kind       => $entry ? $entry->kind : undef,
        entry      => $entry ? $entry->bytes : undef,
        checkpoint => $opened ? checkpoint_fields($opened) : undef,
        checks     => [
            map { { name => $_->{name}, ok => boolean($_->{ok}), detail => $_->{detail} } } $self->checks
        ],
        evidence => $self->{evidence_path},
        map { $_ => $self->{$_} } qw(message expected found causes next notes),
    });
}

sub checkpoint_fields {
    my ($opened) = @_;
    my @cosignatures = map {
        { witness => $_->{witness}, key => $_->{key}->label, time => CPAN::TLog::Findings::date_of($_->{time}) }
    } $opened->cosignatures;
    return {
        origin       => $opened->origin,
        size         => number($opened->size),
        root         => encode_base64($opened->root),
        quorum       => boolean($opened->quorum eq 'met'),
        cosignatures => \@cosignatures,
    };
}

# A number is written as the digits that it is: a perl may not be able to hold it.
sub number { return \"$_[0]" }

sub boolean { return \($_[0] ? 'true' : 'false') }

sub to_json {
    my ($value) = @_;
    return 'null' if !defined $value;
    return ${$value} if ref $value eq 'SCALAR';
    return '[' . join(q{,}, map { to_json($_) } @{$value}) . ']' if ref $value eq 'ARRAY';
    return '{' . join(q{,}, map { to_json($_) . q{:} . to_json($value->{$_}) } sort keys %{$value}) . '}'
        if ref $value eq 'HASH';
    my $text = "$value";
    $text =~ s/[^\x00-\x7E]/?/g if !is_utf8($text);
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([\x00-\x1F])/sprintf '\\u%04x', ord $1/ge;
    return qq{"$text"};
}

1;

__END__

=encoding utf8

=head1 NAME

CPAN::TLog::Result - an outcome and its reasons

=head1 METHODS

=head2 outcome, code

The word and the exit code (L<CPAN::TLog::Outcome>).

=head2 path, sha256, size

Of the file that was held. If the request had no path, it is the one that the bundle proves, or empty.

=head2 index, entry, checkpoint

What is proven: the index of the entry; the L<CPAN::TLog::Entry>, if this program can read it; and the
L<CPAN::TLog::Opened>.

=head2 checks

What was checked, hashes with C<name>, C<ok> and C<detail>.

=head2 message, expected, found, causes, next_steps, notes

What the outcome means here, what it was decided by, what may be behind it, what to do, and what else to know.

=head2 evidence

A L<CPAN::TLog::Evidence>, if the log contradicts itself.

=head2 reason($name), explain, json(%more)

The result for a person who was stopped, for one who wants to know why, and for a program.

=head2 new(%values), failed($message, %values)

Makes a result; and one of the outcome C<error>.

=head2 fail($message), convict($evidence)

Makes the result one of the outcome C<error>, or of C<misbehaviour> with a L<CPAN::TLog::Evidence>. Both return it.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
