package goredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/sentinel"
)

// hook decides for each command whether it may be sent, and whether it may be sent again.
type hook struct {
	dialer           *sentinel.Dialer
	retries          int           // negative: none
	stale            int           // how many connections to an old primary the pool may hold: with TLS it finds out by using them
	backoff, longest time.Duration // after a refusal by the server
}

var _ redis.Hook = (*hook)(nil)

// dial returns, while nobody can be dialled, a connection to nobody. After some errors of its
// dialer go-redis' pool would not dial for a second, and it would repeat each dial, with pauses.
func (h *hook) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := h.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nobody{err}, nil //nolint:nilerr // its Write returns the error
	}
	return conn, nil
}

// DialHook leaves dials as they are.
func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is for single commands.
func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		write := sentinel.Writes(cmd.Name())
		for t := (tries{hook: h}); ; {
			if err := h.admit(ctx, write); err != nil {
				return err
			}
			err := h.judged(next(ctx, cmd))
			if !t.again(ctx, err, write) {
				return err
			}
		}
	}
}

// ProcessPipelineHook is for pipelines and transactions.
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		write := slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return sentinel.Writes(cmd.Name()) })
		for t := (tries{hook: h}); ; {
			if err := h.admit(ctx, write); err != nil {
				setAll(cmds, err)
				return err
			}
			err := next(ctx, cmds)
			if err == nil {
				return nil
			}
			if isReply(err) && errors.Is(err, sentinel.ErrNotSent) {
				setAll(cmds, err) // a reply to OnConnect, which go-redis does not tell the commands of
			}
			partly := h.judgeAll(cmds)
			if partly || !t.again(ctx, h.judged(err), write) {
				return first(cmds, h.judged(err))
			}
		}
	}
}

// admit waits until a command may be sent.
func (h *hook) admit(ctx context.Context, write bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", sentinel.ErrNotSent, err)
	}
	return h.dialer.Admit(ctx, write)
}

// judgeAll says of each command of a pipeline that failed whether it was sent. It returns whether
// the server has answered any.
func (h *hook) judgeAll(cmds []redis.Cmder) (partly bool) {
	for _, cmd := range cmds {
		err := cmd.Err()
		if err == nil || isReply(err) && !errors.Is(err, sentinel.ErrNotSent) {
			partly = true
		}
		if err != nil {
			cmd.SetErr(h.judged(err))
		}
	}
	return partly
}

func setAll(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
}

// first is the first error of a pipeline.
func first(cmds []redis.Cmder, otherwise error) error {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	return otherwise
}

// judged adds to an error that is not a reply whether the command was sent.
func (h *hook) judged(err error) error {
	switch {
	case err == nil:
		return nil
	case isReply(err): // also one that OnConnect got
		if redis.HasErrorPrefix(err, "READONLY") || redis.HasErrorPrefix(err, "MASTERDOWN") {
			h.dialer.Suspect()
		}
		return err
	case errors.Is(err, sentinel.ErrNotSent), errors.Is(err, sentinel.ErrOutcomeUnknown):
		return err
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, redis.ErrClosed):
		return fmt.Errorf("%w: %w", sentinel.ErrNotSent, err)
	}
	return fmt.Errorf("%w: %w", sentinel.ErrOutcomeUnknown, err)
}

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// mostDoublings is how often a back-off is doubled at most. More would overflow.
const mostDoublings = 20

// tries counts how often a command was sent again.
type tries struct {
	hook              *hook
	repeats, outdated int
}

// again reports whether a command may be sent again after an error, and waits if the server is to
// be given time.
func (t *tries) again(ctx context.Context, err error, write bool) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	switch {
	case isReply(err):
		return refusedForNow(err) && t.repeat() && t.pause(ctx)
	case errors.Is(err, sentinel.ErrNoPrimary), errors.Is(err, sentinel.ErrClosed), errors.Is(err, redis.ErrClosed),
		errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, errNobody),
		errors.Is(err, errOwn):
		return false
	case errors.Is(err, sentinel.ErrNotSent) && errors.Is(err, sentinel.ErrFailover) && t.outdated < t.hook.stale:
		t.outdated++
		return true
	case errors.Is(err, sentinel.ErrNotSent), !write:
		return t.repeat()
	}
	return false
}

func (t *tries) repeat() bool {
	t.repeats++
	return t.repeats <= t.hook.retries
}

// pause waits before the next try, and longer each time.
func (t *tries) pause(ctx context.Context) bool {
	wait := time.NewTimer(min(t.hook.backoff<<min(t.repeats-1, mostDoublings), t.hook.longest))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refusedForNow reports whether the server has not carried a command out, and may do so later.
func refusedForNow(err error) bool {
	return slices.ContainsFunc([]string{"READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN", "max number of clients"}, func(prefix string) bool {
		return redis.HasErrorPrefix(err, prefix)
	})
}
