// Asks Scopeward with @grpc/grpc-js: client.js ADDRESS CA|- REQUEST
//
// Prints one JSON object, as client.py does.
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const [address, ca, request] = process.argv.slice(2);
const message = fs.readFileSync(request);
const client = new grpc.Client(address,
  ca === '-' ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(fs.readFileSync(ca)),
  ca === '-' ? {} : {'grpc.ssl_target_name_override': 'scopeward.example.com'});
const counts = {}, replies = new Set();
const same = (m) => m;
const status = Object.fromEntries(Object.entries(grpc.status).map(([name, code]) => [code, name]));
const count = (name) => { counts[name] = (counts[name] || 0) + 1; };

function ask(kind, {method = 'Check', metadata = new grpc.Metadata(), deadline = Date.now() + 10000, cancel = false} = {}) {
  return new Promise((resolve) => {
    const call = client.makeUnaryRequest('/envoy.service.auth.v3.Authorization/' + method, same, same, message, metadata, {deadline}, (err, reply) => {
      if (!err) replies.add(reply.toString('base64'));
      count(kind + ' ' + (err ? status[err.code] : 'OK'));
      resolve();
    });
    if (cancel) call.cancel();
  });
}

(async () => {
  for (let i = 0; i < 20; i++) await ask('unary');
  await Promise.all(Array.from({length: 500}, () => ask('concurrent')));
  const metadata = new grpc.Metadata();
  metadata.set('x-some-bin', Buffer.from([0, 255]));
  metadata.set('x-text', 'v');
  await ask('metadata', {metadata});
  await ask('unimplemented', {method: 'Nothing'});
  await Promise.all(Array.from({length: 50}, () => ask('cancelled', {cancel: true})));
  await ask('deadline', {deadline: Date.now() - 1000});
  for (let i = 0; i < 20; i++) await ask('after');
  client.close();
  process.stdout.write(JSON.stringify({counts, replies: [...replies]}));
})();
