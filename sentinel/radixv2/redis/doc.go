// Package redis has the connection and the replies that programs for
// github.com/mediocregopher/radix.v2/redis know. Those that use its package sentinel change the
// beginning of their import lines, from github.com/mediocregopher/radix.v2 to
// github.com/holdfast-go/holdfast/sentinel/radixv2, and follow failovers as package
// github.com/holdfast-go/holdfast/sentinel does. New programs use that one.
//
// A Client is for one goroutine at a time.
package redis
