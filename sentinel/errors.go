package sentinel

import (
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
)

// They stand in a package of their own because those below this one return them.
var (
	// ErrNoPrimary is returned at once by commands while no primary is known or it does not answer.
	// Nothing was sent: treat a read as a miss, and try a write again later.
	ErrNoPrimary = outcome.ErrNoPrimary
	// ErrFailover is returned by writes that found a failover under way and did not see its end
	// within Options.FenceWait. Nothing was sent. It comes with ErrNotSent.
	ErrFailover = outcome.ErrFailover
	// ErrNotSent is part of every error of a command that the server can not have received: it is
	// safe to try again.
	ErrNotSent = outcome.ErrNotSent
	// ErrOutcomeUnknown is part of every error of a command that was sent and not answered: it may
	// have been carried out.
	ErrOutcomeUnknown = outcome.ErrOutcomeUnknown
	// ErrNoReplica is returned by DoReplica if no replica may serve and Options.ReplicaOnly forbids
	// the primary.
	ErrNoReplica = outcome.ErrNoReplica
	// ErrClosed is returned by everything after Close.
	ErrClosed = outcome.ErrClosed
	// ErrStateful is returned for commands that change the state of a connection, such as SELECT,
	// where commands of others go through it as well: use Client.Exclusive. It is returned
	// everywhere for those that are not answered at all, such as REPLCONF ACK and CLIENT REPLY OFF:
	// nothing could tell whose the next reply is.
	ErrStateful = outcome.ErrStateful
	// ErrNotDurable is returned by Client.DoDurable if the write was carried out, and fewer
	// replicas than asked are known to have it. Do not send it again unless that is harmless;
	// should a failover follow, it may be lost.
	ErrNotDurable = outcome.ErrNotDurable
	// ErrBusy is returned by calls that need a connection of their own when all PrivateConns,
	// or BlockingConns, of Options are in use until their contexts end.
	ErrBusy = outcome.ErrBusy

	// ErrBadOptions is returned by New and NewClient for a choice that cannot work; the text names
	// it.
	ErrBadOptions = outcome.ErrBadOptions
	// ErrNoSentinel is returned by New and NewClient if no sentinel could be reached; the text has
	// the reason for each.
	ErrNoSentinel = outcome.ErrNoSentinel
	// ErrNotSentinel is returned by New and NewClient if an address given belongs to a redis that
	// is no sentinel.
	ErrNotSentinel = outcome.ErrNotSentinel
	// ErrUnknownPrimary is returned for a name that the sentinels, or this client, do not know; the
	// text has those they do.
	ErrUnknownPrimary = outcome.ErrUnknownPrimary
	// ErrSentinelAuth is returned by New and NewClient if a sentinel refuses Options.Sentinel's
	// user or password.
	ErrSentinelAuth = outcome.ErrSentinelAuth
	// ErrServerAuth is returned by New and NewClient if a primary refuses Options.Server's user or
	// password.
	ErrServerAuth = outcome.ErrServerAuth
)
