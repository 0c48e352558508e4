package goredis

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/sentinel"
)

// errLimited is part of what a refusal by Options.Limiter returns.
var errLimited = errors.New("the limiter has refused it")

// limiter is that of the program. go-redis asks it before it takes a connection: what it refuses was not sent.
type limiter struct{ redis.Limiter }

// Allow marks a refusal.
func (l limiter) Allow() error {
	if err := l.Limiter.Allow(); err != nil {
		return limitedError{err}
	}
	return nil
}

// limitedError is a refusal, as the limiter gave it. It is not sent again: the limiter would be asked again at once.
type limitedError struct{ error }

func (e limitedError) Is(target error) bool {
	return target == errLimited || target == sentinel.ErrNotSent
}

func (e limitedError) Unwrap() error { return e.error }
