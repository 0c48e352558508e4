package sentinel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

var (
	// ErrNoPrimary is returned at once by commands while no primary is known or it does not answer. Nothing was sent: treat a read as
	// a miss, and try a write again later.
	ErrNoPrimary = errors.New("sentinel: no primary")
	// ErrFailover is returned by writes that found a failover under way and did not see its end within Options.FenceWait. Nothing was
	// sent. It comes with ErrNotSent.
	ErrFailover = errors.New("sentinel: failover under way")
	// ErrNotSent is part of every error of a command that the server can not have received: it is safe to try again.
	ErrNotSent = errors.New("sentinel: not sent")
	// ErrOutcomeUnknown is part of every error of a command that was sent and not answered: it may have been carried out.
	ErrOutcomeUnknown = errors.New("sentinel: outcome unknown")
	// ErrNoReplica is returned by DoReplica if no replica may serve and Options.ReplicaOnly forbids the primary.
	ErrNoReplica = errors.New("sentinel: no replica")
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("sentinel: client is closed")
	// ErrStateful is returned for commands that change the state of a connection, such as SELECT, where commands of others go through
	// it as well: use Client.Exclusive. It is returned everywhere for those that are not answered at all, such as REPLCONF ACK and
	// CLIENT REPLY OFF: nothing could tell whose the next reply is.
	ErrStateful = errors.New("sentinel: command needs a connection of its own")
	// ErrNotDurable is returned by Client.DoDurable if the write was carried out, and fewer replicas than asked are known to have it.
	// Do not send it again unless that is harmless; should a failover follow, it may be lost.
	ErrNotDurable = errors.New("sentinel: not as durable as asked")
	// ErrBusy is returned by what needs a connection of its own when Options.PrivateConns of them, or Options.BlockingConns, are in use until its
	// context ends.
	ErrBusy = errors.New("sentinel: all private connections are in use")

	// ErrBadOptions is returned by New and NewClient for a choice that cannot work; the text names it.
	ErrBadOptions = errors.New("sentinel: bad options")
	// ErrNoSentinel is returned by New and NewClient if no sentinel could be reached; the text has the reason for each.
	ErrNoSentinel = errors.New("sentinel: no sentinel answers")
	// ErrNotSentinel is returned by New and NewClient if an address given belongs to a redis that is no sentinel.
	ErrNotSentinel = errors.New("sentinel: not a sentinel")
	// ErrUnknownPrimary is returned for a name that the sentinels, or this client, do not know; the text has those they do.
	ErrUnknownPrimary = errors.New("sentinel: unknown primary")
	// ErrSentinelAuth is returned by New and NewClient if a sentinel refuses Options.Sentinel's user or password.
	ErrSentinelAuth = observe.NewCause("credentials refused", "sentinel: a sentinel refuses the credentials")
	// ErrServerAuth is returned by New and NewClient if a primary refuses Options.Server's user or password.
	ErrServerAuth = observe.NewCause("credentials refused", "sentinel: a server refuses the credentials")
)

// errorReply returns the text of an error that the other side replied, such as "NOAUTH …".
func errorReply(err error) (string, bool) {
	if simple := (resp3.SimpleError{}); errors.As(err, &simple) {
		return simple.S, true
	}
	if blob := (resp3.BlobError{}); errors.As(err, &blob) {
		return string(blob.B), true
	}
	return "", false
}

// refusesCredentials tells whether an error reply is about user or password.
func refusesCredentials(err error) bool {
	text, ok := errorReply(err)
	if !ok {
		return false
	}
	for _, prefix := range []string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// outcome turns a connection's failure into an error that says whether the command may have been carried out. The failure stays in it.
func outcome(f *wire.Failure, name, addr string) error {
	verdict := ErrNotSent
	if f.Sent {
		verdict = ErrOutcomeUnknown
	}
	return fmt.Errorf("%w: %q at %s: %w", verdict, name, addr, f)
}

// unsendable says why a request was not even tried.
func unsendable(err error) error {
	switch {
	case errors.Is(err, wire.ErrPushed):
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w: use Client.Subscribe", ErrStateful, ErrNotSent, err)}
	case errors.Is(err, wire.ErrUnmatched):
		return resp.ErrConnUsable{Err: fmt.Errorf("%w: %w: %w", ErrStateful, ErrNotSent, err)}
	}
	return err // it is no command
}
