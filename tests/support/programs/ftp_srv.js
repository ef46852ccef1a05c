// ftp-srv, or a package that took its place, as a process: explicit TLS, or implicit with the argument --implicit.
//
// node ftp_srv.js PACKAGE --host 127.0.0.1 --port PORT --home DIR --certificate PEM --user NAME --password TEXT
//
// NODE_PATH says where packages are. It has no setting that refuses a login in clear.
//
// Explicit, it loses the client's first bytes of TLS if they come within the millisecond in which it has sent its 234 and
// not yet changed over, as they do on the loopback address (curl fails one time in four, Python's ftplib nine in ten). So
// what clients say on the control connection comes through a network here, which takes a moment.
'use strict';

const fs = require('fs');
const net = require('net');
const {parseArgs} = require('util');

const MILLISECONDS = 2;

const text = {type: 'string'};
const {values: options, positionals: [name]} = parseArgs({
  allowPositionals: true,
  options: {
    host: text, port: text, home: text, user: text, password: text, certificate: text, implicit: {type: 'boolean'},
  },
});

const pem = fs.readFileSync(options.certificate);
const exported = require(name);
const FtpSrv = exported.FtpSrv || exported;
const server = new FtpSrv({
  url: options.implicit ? `ftps://${options.host}:${options.port}` : `ftp://${options.host}:0`,
  pasv_url: options.host,
  pasv_min: 10000,
  pasv_max: 14999,
  tls: {key: pem, cert: pem},
});
server.on('login', ({username, password}, accept, refuse) => {
  if (username === options.user && password === options.password) accept({root: options.home});
  else refuse(new Error('wrong user or password'));
});
server.on('client-error', ({context, error}) => console.log(`${context}: ${error}`));

function network(outside) {
  const inside = net.connect(server.server.address().port, options.host);
  outside.on('data', (data) => setTimeout(() => inside.write(data), MILLISECONDS));
  outside.on('end', () => setTimeout(() => inside.end(), MILLISECONDS));
  outside.on('error', () => inside.destroy());
  inside.on('error', () => outside.destroy());
  inside.pipe(outside);
}

server.listen().then(() => {
  if (!options.implicit) net.createServer({allowHalfOpen: true}, network).listen(options.port, options.host);
});
