/**
 * Numbers of the IKEv2 registries (RFC 7296 §3 and the RFCs on each line) under the names that the RFCs give them, and the
 * IP protocol numbers that traffic selectors need. Names are derived from these objects, never typed twice. A number
 * standing here does not mean that it is supported: crypto/registry.ts and ike/ decide that.
 */

/** RFC 7296 §3.1. */
export const EXCHANGE_TYPE = {
  IKE_SA_INIT: 34,
  IKE_AUTH: 35,
  CREATE_CHILD_SA: 36,
  INFORMATIONAL: 37,
  IKE_SESSION_RESUME: 38, // RFC 5723
  IKE_INTERMEDIATE: 43, // RFC 9242
  IKE_FOLLOWUP_KE: 44, // RFC 9370
} as const

/** RFC 7296 §3.2. The keys are the `type` tags of ike-types.ts. */
export const PAYLOAD_TYPE = {
  SA: 33,
  KE: 34,
  IDi: 35,
  IDr: 36,
  CERT: 37,
  CERTREQ: 38,
  AUTH: 39,
  Nonce: 40,
  Notify: 41,
  Delete: 42,
  VendorID: 43,
  TSi: 44,
  TSr: 45,
  SK: 46,
  CP: 47,
  EAP: 48,
  SKF: 53, // RFC 7383
} as const

/** Next Payload of the last payload. */
export const NO_NEXT_PAYLOAD = 0

/** RFC 7296 §3.3.1. */
export const PROTOCOL = { NONE: 0, IKE: 1, AH: 2, ESP: 3 } as const

/** RFC 7296 §3.3.2; ADDKE of RFC 9370. */
export const TRANSFORM_TYPE = {
  ENCR: 1,
  PRF: 2,
  INTEG: 3,
  KE: 4,
  ESN: 5,
  ADDKE1: 6,
  ADDKE2: 7,
  ADDKE3: 8,
  ADDKE4: 9,
  ADDKE5: 10,
  ADDKE6: 11,
  ADDKE7: 12,
} as const

/** Transform attribute, RFC 7296 §3.3.5. */
export const ATTRIBUTE_TYPE = { KEY_LENGTH: 14 } as const

/** Transform type 1. */
export const ENCR = {
  ENCR_DES: 2,
  ENCR_3DES: 3,
  ENCR_NULL: 11,
  ENCR_AES_CBC: 12,
  ENCR_AES_CTR: 13,
  ENCR_AES_CCM_8: 14, // RFC 4309
  ENCR_AES_CCM_12: 15,
  ENCR_AES_CCM_16: 16,
  ENCR_AES_GCM_8: 18, // RFC 4106, RFC 5282
  ENCR_AES_GCM_12: 19,
  ENCR_AES_GCM_16: 20,
  ENCR_NULL_AUTH_AES_GMAC: 21, // RFC 4543
  ENCR_CAMELLIA_CBC: 23, // RFC 5529
  ENCR_CHACHA20_POLY1305: 28, // RFC 7634
} as const

/** Transform type 2. */
export const PRF = {
  PRF_HMAC_MD5: 1,
  PRF_HMAC_SHA1: 2,
  PRF_AES128_XCBC: 4,
  PRF_HMAC_SHA2_256: 5, // RFC 4868
  PRF_HMAC_SHA2_384: 6,
  PRF_HMAC_SHA2_512: 7,
  PRF_AES128_CMAC: 8, // RFC 4615
} as const

/** Transform type 3. */
export const INTEG = {
  NONE: 0,
  AUTH_HMAC_MD5_96: 1,
  AUTH_HMAC_SHA1_96: 2,
  AUTH_AES_XCBC_96: 5,
  AUTH_AES_CMAC_96: 8, // RFC 4494
  AUTH_AES_128_GMAC: 9, // RFC 4543
  AUTH_AES_192_GMAC: 10,
  AUTH_AES_256_GMAC: 11,
  AUTH_HMAC_SHA2_256_128: 12, // RFC 4868
  AUTH_HMAC_SHA2_384_192: 13,
  AUTH_HMAC_SHA2_512_256: 14,
} as const

/** Transform type 4, and types 6 to 12 of RFC 9370. */
export const KE = {
  NONE: 0,
  MODP_768: 1,
  MODP_1024: 2,
  MODP_1536: 5, // RFC 3526
  MODP_2048: 14,
  MODP_3072: 15,
  MODP_4096: 16,
  MODP_6144: 17,
  MODP_8192: 18,
  ECP_256: 19, // RFC 5903
  ECP_384: 20,
  ECP_521: 21,
  MODP_1024_160: 22, // RFC 5114
  MODP_2048_224: 23,
  MODP_2048_256: 24,
  ECP_192: 25,
  ECP_224: 26,
  BRAINPOOL_P224R1: 27, // RFC 6954
  BRAINPOOL_P256R1: 28,
  BRAINPOOL_P384R1: 29,
  BRAINPOOL_P512R1: 30,
  CURVE25519: 31, // RFC 8031
  CURVE448: 32,
  ML_KEM_512: 35, // draft-ietf-ipsecme-ikev2-mlkem
  ML_KEM_768: 36,
  ML_KEM_1024: 37,
} as const

/** Transform type 5. */
export const ESN = { NO_ESN: 0, ESN: 1 } as const

/** RFC 7296 §3.5. */
export const ID_TYPE = {
  ID_IPV4_ADDR: 1,
  ID_FQDN: 2,
  ID_RFC822_ADDR: 3,
  ID_IPV6_ADDR: 5,
  ID_DER_ASN1_DN: 9,
  ID_DER_ASN1_GN: 10,
  ID_KEY_ID: 11,
  ID_NULL: 13, // RFC 7619
} as const

/** RFC 7296 §3.6. */
export const CERT_ENCODING = {
  PKCS7_X509: 1,
  X509_SIGNATURE: 4,
  CRL: 7,
  HASH_AND_URL_X509: 12,
  HASH_AND_URL_X509_BUNDLE: 13,
  OCSP_CONTENT: 14, // RFC 4806
  RAW_PUBLIC_KEY: 15, // RFC 7670
} as const

/** RFC 7296 §3.8. */
export const AUTH_METHOD = {
  RSA_DIGITAL_SIGNATURE: 1,
  SHARED_KEY_MESSAGE_INTEGRITY_CODE: 2,
  DSS_DIGITAL_SIGNATURE: 3,
  ECDSA_SHA256_P256: 9, // RFC 4754
  ECDSA_SHA384_P384: 10,
  ECDSA_SHA512_P521: 11,
  GENERIC_SECURE_PASSWORD: 12, // RFC 6467
  NULL_AUTHENTICATION: 13, // RFC 7619
  DIGITAL_SIGNATURE: 14, // RFC 7427
} as const

/** RFC 7427 §7; Identity of RFC 8420. */
export const HASH_ALGORITHM = { SHA1: 1, SHA2_256: 2, SHA2_384: 3, SHA2_512: 4, IDENTITY: 5 } as const

/** Notify types from here on report status, below they report errors (RFC 7296 §3.10.1). */
export const FIRST_STATUS_NOTIFY = 16384

/** RFC 7296 §3.10.1. */
export const NOTIFY = {
  UNSUPPORTED_CRITICAL_PAYLOAD: 1,
  INVALID_IKE_SPI: 4,
  INVALID_MAJOR_VERSION: 5,
  INVALID_SYNTAX: 7,
  INVALID_MESSAGE_ID: 9,
  INVALID_SPI: 11,
  NO_PROPOSAL_CHOSEN: 14,
  INVALID_KE_PAYLOAD: 17,
  AUTHENTICATION_FAILED: 24,
  SINGLE_PAIR_REQUIRED: 34,
  NO_ADDITIONAL_SAS: 35,
  INTERNAL_ADDRESS_FAILURE: 36,
  FAILED_CP_REQUIRED: 37,
  TS_UNACCEPTABLE: 38,
  INVALID_SELECTORS: 39,
  UNACCEPTABLE_ADDRESSES: 40, // RFC 4555
  UNEXPECTED_NAT_DETECTED: 41, // RFC 4555
  TEMPORARY_FAILURE: 43,
  CHILD_SA_NOT_FOUND: 44,
  STATE_NOT_FOUND: 47, // RFC 9370
  INITIAL_CONTACT: 16384,
  SET_WINDOW_SIZE: 16385,
  ADDITIONAL_TS_POSSIBLE: 16386,
  IPCOMP_SUPPORTED: 16387,
  NAT_DETECTION_SOURCE_IP: 16388,
  NAT_DETECTION_DESTINATION_IP: 16389,
  COOKIE: 16390,
  USE_TRANSPORT_MODE: 16391,
  HTTP_CERT_LOOKUP_SUPPORTED: 16392,
  REKEY_SA: 16393,
  ESP_TFC_PADDING_NOT_SUPPORTED: 16394,
  NON_FIRST_FRAGMENTS_ALSO: 16395,
  MOBIKE_SUPPORTED: 16396, // RFC 4555
  ADDITIONAL_IP4_ADDRESS: 16397,
  ADDITIONAL_IP6_ADDRESS: 16398,
  NO_ADDITIONAL_ADDRESSES: 16399,
  UPDATE_SA_ADDRESSES: 16400,
  COOKIE2: 16401,
  NO_NATS_ALLOWED: 16402,
  AUTH_LIFETIME: 16403, // RFC 4478
  MULTIPLE_AUTH_SUPPORTED: 16404, // RFC 4739
  ANOTHER_AUTH_FOLLOWS: 16405,
  REDIRECT_SUPPORTED: 16406, // RFC 5685
  REDIRECT: 16407,
  REDIRECTED_FROM: 16408,
  TICKET_LT_OPAQUE: 16409, // RFC 5723
  TICKET_REQUEST: 16410,
  TICKET_ACK: 16411,
  TICKET_NACK: 16412,
  TICKET_OPAQUE: 16413,
  LINK_ID: 16414, // RFC 5739
  USE_WESP_MODE: 16415, // RFC 5840
  ROHC_SUPPORTED: 16416, // RFC 5857
  EAP_ONLY_AUTHENTICATION: 16417, // RFC 5998
  CHILDLESS_IKEV2_SUPPORTED: 16418, // RFC 6023
  QUICK_CRASH_DETECTION: 16419, // RFC 6290
  IKEV2_MESSAGE_ID_SYNC_SUPPORTED: 16420, // RFC 6311
  IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED: 16421,
  IKEV2_MESSAGE_ID_SYNC: 16422,
  IPSEC_REPLAY_COUNTER_SYNC: 16423,
  IKEV2_FRAGMENTATION_SUPPORTED: 16430, // RFC 7383
  SIGNATURE_HASH_ALGORITHMS: 16431, // RFC 7427
  CLONE_IKE_SA_SUPPORTED: 16432, // RFC 7791
  CLONE_IKE_SA: 16433,
  PUZZLE: 16434, // RFC 8019
  USE_PPK: 16435, // RFC 8784
  PPK_IDENTITY: 16436,
  NO_PPK_AUTH: 16437,
  INTERMEDIATE_EXCHANGE_SUPPORTED: 16438, // RFC 9242
  IP4_ALLOWED: 16439, // RFC 8983
  IP6_ALLOWED: 16440,
  ADDITIONAL_KEY_EXCHANGE: 16441, // RFC 9370
  USE_AGGFRAG: 16442, // RFC 9347
} as const

/** RFC 8784 §5.1. */
export const PPK_ID_TYPE = { PPK_ID_OPAQUE: 1, PPK_ID_FIXED: 2 } as const

/** RFC 7296 §3.13.1. */
export const TS_TYPE = { TS_IPV4_ADDR_RANGE: 7, TS_IPV6_ADDR_RANGE: 8 } as const

/** RFC 7296 §3.15. */
export const CFG_TYPE = { CFG_REQUEST: 1, CFG_REPLY: 2, CFG_SET: 3, CFG_ACK: 4 } as const

/** RFC 7296 §3.15.1. */
export const CFG_ATTRIBUTE = {
  INTERNAL_IP4_ADDRESS: 1,
  INTERNAL_IP4_NETMASK: 2,
  INTERNAL_IP4_DNS: 3,
  INTERNAL_IP4_NBNS: 4,
  INTERNAL_IP4_DHCP: 6,
  APPLICATION_VERSION: 7,
  INTERNAL_IP6_ADDRESS: 8,
  INTERNAL_IP6_DNS: 10,
  INTERNAL_IP6_DHCP: 12,
  INTERNAL_IP4_SUBNET: 13,
  SUPPORTED_ATTRIBUTES: 14,
  INTERNAL_IP6_SUBNET: 15,
  INTERNAL_DNS_DOMAIN: 25, // RFC 8598
  INTERNAL_DNSSEC_TA: 26,
} as const

/** Next Header / Protocol numbers that selectors and the IP views name. */
export const IP_PROTOCOL = {
  HOPOPT: 0,
  ICMP: 1,
  IPV4: 4,
  TCP: 6,
  UDP: 17,
  DCCP: 33,
  IPV6: 41,
  IPV6_ROUTE: 43,
  IPV6_FRAG: 44,
  ESP: 50,
  AH: 51,
  IPV6_ICMP: 58,
  IPV6_NO_NEXT: 59,
  IPV6_OPTS: 60,
  SCTP: 132,
  MOBILITY_HEADER: 135,
  UDPLITE: 136,
} as const

type Registry = Readonly<Record<string, number>>

function namesOf(registry: Registry, what: string): (value: number) => string {
  const names = new Map(Object.entries(registry).map(([name, value]) => [value, name]))
  return (value) => names.get(value) ?? `${what} ${value}`
}

export const exchangeName = namesOf(EXCHANGE_TYPE, 'exchange')
export const payloadName = namesOf(PAYLOAD_TYPE, 'payload')
export const protocolName = namesOf(PROTOCOL, 'protocol')
export const transformTypeName = namesOf(TRANSFORM_TYPE, 'transform type')
export const idTypeName = namesOf(ID_TYPE, 'ID type')
export const certEncodingName = namesOf(CERT_ENCODING, 'certificate encoding')
export const authMethodName = namesOf(AUTH_METHOD, 'AUTH method')
export const hashAlgorithmName = namesOf(HASH_ALGORITHM, 'hash')
export const notifyName = namesOf(NOTIFY, 'notify')
export const cfgAttributeName = namesOf(CFG_ATTRIBUTE, 'CFG attribute')
export const ipProtocolName = namesOf(IP_PROTOCOL, 'IP protocol')

const keName = namesOf(KE, 'KE')
const TRANSFORM_NAMES = new Map<number, (id: number) => string>([
  [TRANSFORM_TYPE.ENCR, namesOf(ENCR, 'ENCR')],
  [TRANSFORM_TYPE.PRF, namesOf(PRF, 'PRF')],
  [TRANSFORM_TYPE.INTEG, namesOf(INTEG, 'INTEG')],
  [TRANSFORM_TYPE.KE, keName],
  [TRANSFORM_TYPE.ESN, namesOf(ESN, 'ESN')],
])

/** @returns whether transforms of this type are additional key exchanges, out of the registry of type 4 (RFC 9370) */
export function isAdditionalKe(type: number): boolean {
  return type >= TRANSFORM_TYPE.ADDKE1 && type <= TRANSFORM_TYPE.ADDKE7
}

/** @returns the RFC's name of a transform, or its numbers */
export function transformName(type: number, id: number): string {
  const nameOf = isAdditionalKe(type) ? keName : TRANSFORM_NAMES.get(type)
  return nameOf === undefined ? `${transformTypeName(type)} ${id}` : nameOf(id)
}

/** An error in a response fails its request even when we don't know the number (V2-077). */
export function isErrorNotify(notifyType: number): boolean {
  return notifyType < FIRST_STATUS_NOTIFY
}
