// Package matrix breaks the way to a server in each of many manners, with a client of each package
// at its end: connections, times, answers, certificates, proxies, names, lists of servers, clocks,
// callbacks and the client's own process. It asks the same questions of each: is every call
// bounded, is what it returns one of the documented outcomes and never another caller's, is it fast
// again after a moment, is the server used again when it is well, is no acknowledged write lost and
// nothing left behind? The table of docs/failure-modes.md is made of it.
package matrix
