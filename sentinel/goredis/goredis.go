package goredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/holdfast-go/holdfast/sentinel"
)

const (
	// defaultRetries and the back-off are those of go-redis.
	defaultRetries = 3
	defaultBackoff = 10 * time.Millisecond
	longestBackoff = time.Second
)

// New returns a go-redis client of the primary of a name. Nil options are the defaults. Close both
// clients, this one first.
//
// Where and how to connect is said by the sentinel client's options: Addr and Network are not used,
// and Dialer and TLSConfig are refused with sentinel.ErrBadOptions. The login, the database and all
// else are these options' own. MaxRetries is how often a command is sent again that was not carried
// out: at once if it was not sent, after a back-off if the server refused it for a while (READONLY,
// LOADING). ContextTimeoutEnabled is always on.
//
// If the sentinel client does not follow the name it returns sentinel.ErrUnknownPrimary.
func New(c *sentinel.Client, name string, o *redis.Options) (*redis.Client, error) {
	options := redis.Options{}
	if o != nil {
		options = *o
	}
	if err := check(c, options); err != nil {
		return nil, err
	}
	dialer := c.Dialer(name)
	if err := dialer.Admit(context.Background(), false); errors.Is(err, sentinel.ErrUnknownPrimary) {
		return nil, err
	}
	h := &hook{dialer: dialer, retries: cmp.Or(options.MaxRetries, defaultRetries)}
	h.backoff, h.longest = backoff(options.MinRetryBackoff, defaultBackoff), backoff(options.MaxRetryBackoff, longestBackoff)
	options.MaxRetries = -1 // go-redis would send writes again whose outcome is unknown
	options.ContextTimeoutEnabled = true
	options.Network, options.Addr, options.Dialer = "tcp", name, h.dial
	options.MaintNotificationsConfig = maintenance(options.MaintNotificationsConfig)
	markOwn(&options)
	client := redis.NewClient(&options)
	h.stale = client.Options().PoolSize
	client.AddHook(h)
	return client, nil
}

func check(c *sentinel.Client, o redis.Options) error {
	var bad []error
	if c == nil {
		bad = append(bad, errors.New("the sentinel client is nil: make one with sentinel.New, and check its error"))
	}
	if o.Dialer != nil {
		bad = append(bad, errors.New("Options.Dialer is set: give it to the sentinel client, as Options.Server.Dial"))
	}
	if o.TLSConfig != nil {
		bad = append(bad, errors.New("Options.TLSConfig is set: give it to the sentinel client, as Options.Server.TLS"))
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: %w", sentinel.ErrBadOptions, err)
	}
	return nil
}

// maintenance turns notifications of a managed service's maintenance off, unless they are asked
// for: they would be asked for at each dial. With another type of end point go-redis would look the
// primary's name up in DNS.
func maintenance(asked *maintnotifications.Config) *maintnotifications.Config {
	c := maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if asked != nil {
		c = *asked
	}
	if c.EndpointType == "" || c.EndpointType == maintnotifications.EndpointTypeAuto {
		c.EndpointType = maintnotifications.EndpointTypeNone
	}
	return &c
}

// backoff is an option of go-redis: 0 is the default, -1 none.
func backoff(option, byDefault time.Duration) time.Duration {
	return max(0, cmp.Or(option, byDefault))
}
