package goredis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/holdfast-go/holdfast/sentinel"
)

// errOwn is part of what the program's own code returns that go-redis runs before it sends a
// command.
var errOwn = errors.New("the program's own code has refused it")

// ownError is such an error: the command was not sent. Nor is it sent again, as the same code would
// be asked again at once; but it is where the code only passes on what has become of its
// connection.
//
// It has no Unwrap: go-redis takes the outermost error of a dial off where it can.
type ownError struct{ error }

// Is finds what the program's code has returned, and says of the command what holds for that:
// commands sent before it are another matter.
func (e ownError) Is(target error) bool {
	switch target {
	case sentinel.ErrNotSent:
		return true
	case sentinel.ErrOutcomeUnknown:
		return false
	case errOwn:
		return !errors.Is(e.error, sentinel.ErrNotSent) && !errors.Is(e.error, sentinel.ErrOutcomeUnknown)
	}
	return errors.Is(e.error, target)
}

// As finds what the program's code has returned.
func (e ownError) As(target any) bool { return errors.As(e.error, target) }

func own(err error) error {
	if err == nil {
		return nil
	}
	return ownError{err}
}

// markOwn has the program's own code in options mark its errors.
func markOwn(o *redis.Options) {
	if o.Limiter != nil {
		o.Limiter = limiter{o.Limiter}
	}
	if connected := o.OnConnect; connected != nil {
		o.OnConnect = func(ctx context.Context, conn *redis.Conn) error { return own(connected(ctx, conn)) }
	}
	if provide := o.CredentialsProviderContext; provide != nil {
		o.CredentialsProviderContext = func(ctx context.Context) (user, password string, err error) {
			user, password, err = provide(ctx)
			return user, password, own(err)
		}
	}
	if o.StreamingCredentialsProvider != nil {
		o.StreamingCredentialsProvider = credentials{o.StreamingCredentialsProvider}
	}
}

// limiter is that of the program. go-redis asks it before it takes a connection.
type limiter struct{ redis.Limiter }

// Allow marks a refusal.
func (l limiter) Allow() error { return own(l.Limiter.Allow()) }

// credentials are those of the program. go-redis subscribes to them for each connection that it
// opens.
type credentials struct {
	auth.StreamingCredentialsProvider
}

// Subscribe marks an error.
func (c credentials) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	now, unsubscribe, err := c.StreamingCredentialsProvider.Subscribe(l)
	return now, unsubscribe, own(err)
}
