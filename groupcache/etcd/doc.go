// Package etcd is a groupcache whose peers find each other through etcd and speak gRPC, with the
// names of the groupcache-etcd module:
//
//	server, err := etcd.NewServer("10.0.0.1:6324")
//	users := etcd.NewGroup("users", 64<<20, etcd.RetrieveFunc(loadUser))
//	users.RegisterServer(server)
//	go server.Start()
//	v, err := users.Get("42")
//
// It is a face of package groupcache: a Server is an Instance with the network of grpcpeer and the
// discovery of etcdpeers, and a Group one of its groups. New programs have more of it, such as
// contexts, Set and Remove, from these packages directly.
//
// Peers register under the names and with the values of the original, and ask each other as it
// does: a running cluster can be moved one process at a time.
package etcd
