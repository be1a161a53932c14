// SPDX-License-Identifier: Apache-2.0

/// A command of a submission queue: 64 bytes (NVM Express Base 1.4 §4.2).
struct NVMeCommand {
  /// Bytes.
  static let size = 64

  private let words: [UInt32]

  /// Creates a command from 64 bytes.
  init(_ bytes: [UInt8]) {
    words = (0..<Self.size / 4).map { index in
      bytes[4 * index..<4 * index + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
  }

  /// Returns a double word, 0 to 15.
  func word(_ index: Int) -> UInt32 { words[index] }

  /// The operation.
  var opcode: UInt8 { UInt8(truncatingIfNeeded: words[0]) }
  /// The identifier that the completion repeats.
  var identifier: UInt16 { UInt16(truncatingIfNeeded: words[0] >> 16) }
  /// True if the data pointer is a PRP (PSDT is 0). The controller has no SGLs.
  var usesPRP: Bool { words[0] >> 14 & 3 == 0 }
  /// The namespace.
  var namespace: UInt32 { words[1] }
  /// The first PRP.
  var prp1: UInt64 { UInt64(words[6]) | UInt64(words[7]) << 32 }
  /// The second PRP.
  var prp2: UInt64 { UInt64(words[8]) | UInt64(words[9]) << 32 }
}

/// The status of a completion: type and code (NVM Express Base 1.4 §4.6.1).
struct NVMeStatus: Equatable {
  let type: UInt16
  let code: UInt16

  static let success = NVMeStatus(type: 0, code: 0)
  static let invalidOpcode = NVMeStatus(type: 0, code: 0x01)
  static let invalidField = NVMeStatus(type: 0, code: 0x02)
  static let transferError = NVMeStatus(type: 0, code: 0x04)
  static let internalError = NVMeStatus(type: 0, code: 0x06)
  static let invalidNamespace = NVMeStatus(type: 0, code: 0x0B)
  static let invalidPRP = NVMeStatus(type: 0, code: 0x13)
  static let outOfRange = NVMeStatus(type: 0, code: 0x80)
  static let invalidCompletionQueue = NVMeStatus(type: 1, code: 0x00)
  static let invalidQueueIdentifier = NVMeStatus(type: 1, code: 0x01)
  static let invalidQueueSize = NVMeStatus(type: 1, code: 0x02)
  static let tooManyEventRequests = NVMeStatus(type: 1, code: 0x05)
  static let invalidVector = NVMeStatus(type: 1, code: 0x08)
  static let invalidLogPage = NVMeStatus(type: 1, code: 0x09)
  static let invalidQueueDeletion = NVMeStatus(type: 1, code: 0x0C)

  /// The status field of a completion, without the phase.
  var field: UInt16 { code | type << 8 }
}

/// The result of a command.
struct NVMeResult {
  var status = NVMeStatus.success
  /// Double word 0 of the completion.
  var value: UInt32 = 0
}
