import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  type AgentService,
  type RegisterSigningKeyRequest,
  SignatureAlgorithm,
  SignatureAlgorithmSchema,
  type SigningKeySchema,
} from '../../gen/portcullis/v1/agent_pb.ts';
import type { SigningKeyRecord } from '../../identity/signatures/model.ts';
import type { NewSigningKey } from '../../identity/signatures/service.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';
import { visible } from '../visible.ts';

type Methods = Pick<ServiceImpl<typeof AgentService>, 'registerSigningKey' | 'listSigningKeys' | 'revokeSigningKey'>;

export function signingKeyMethods({ signingKeys, feed, pageTokens }: ServiceDeps): Methods {
  return {
    async registerSigningKey(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const registering = signingKeys.register(principal, requestId, newSigningKey(request, projectId));
      const { signingKey, secret } = await visible(feed, registering);
      return { signingKey: signingKeyMessage(signingKey), secret: secret ?? '' };
    },

    async listSigningKeys(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await signingKeys.list(projectId, request.keyId, pageTokens.read(list, request));
      return { signingKeys: page.items.map(signingKeyMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async revokeSigningKey(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const revoking = signingKeys.revoke(principal, requestId, { projectId, id: request.signingKeyId });
      return { signingKey: signingKeyMessage(await visible(feed, revoking)) };
    },
  };
}

function newSigningKey(request: RegisterSigningKeyRequest, projectId: string): NewSigningKey {
  const { keyId, publicKey } = request;
  const names = ['ed25519', 'hmac_sha256'] as const;
  const name = fromEnum(SignatureAlgorithmSchema, names, request.algorithm, 'algorithm');
  return { projectId, keyId, publicKey, algorithm: name === 'ed25519' ? name : 'hmac-sha256' };
}

function signingKeyMessage(key: SigningKeyRecord): MessageInitShape<typeof SigningKeySchema> {
  return {
    id: key.id,
    projectId: key.projectId,
    keyId: key.keyId,
    algorithm: key.algorithm === 'ed25519' ? SignatureAlgorithm.ED25519 : SignatureAlgorithm.HMAC_SHA256,
    publicKey: key.publicKey?.toString('base64url') ?? '',
    createTime: toTimestamp(key.createdAt),
    createdBy: key.createdBy,
    revokeTime: toTimestamp(key.revokedAt),
  };
}
