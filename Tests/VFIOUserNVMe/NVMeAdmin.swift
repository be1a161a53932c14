// SPDX-License-Identifier: Apache-2.0

import VFIOUser
import VFIOUserServer

/// Admin commands (NVM Express Base 1.4 §5).
extension NVMeController {
  private enum Opcode {
    static let deleteSubmission: UInt8 = 0x00
    static let createSubmission: UInt8 = 0x01
    static let getLogPage: UInt8 = 0x02
    static let deleteCompletion: UInt8 = 0x04
    static let createCompletion: UInt8 = 0x05
    static let identify: UInt8 = 0x06
    static let abort: UInt8 = 0x08
    static let setFeatures: UInt8 = 0x09
    static let getFeatures: UInt8 = 0x0A
    static let eventRequest: UInt8 = 0x0C
  }

  private static let numberOfQueues: UInt8 = 7

  /// Executes an admin command. Returns nil if it stays pending.
  func executeAdmin(_ command: NVMeCommand, _ port: some DevicePort) -> NVMeResult? {
    switch command.opcode {
    case Opcode.identify: return NVMeResult(status: identify(command, port))
    case Opcode.getLogPage: return NVMeResult(status: logPage(command, port))
    case Opcode.createCompletion: return NVMeResult(status: createCompletion(command))
    case Opcode.createSubmission: return NVMeResult(status: createSubmission(command))
    case Opcode.deleteCompletion: return NVMeResult(status: deleteCompletion(command))
    case Opcode.deleteSubmission:
      let number = Int(command.word(10) & 0xFFFF)
      guard number > 0, submission.removeValue(forKey: number) != nil else {
        return NVMeResult(status: .invalidQueueIdentifier)
      }
      return NVMeResult()
    case Opcode.setFeatures: return setFeature(command)
    case Opcode.getFeatures:
      let feature = UInt8(truncatingIfNeeded: command.word(10))
      return NVMeResult(value: feature == Self.numberOfQueues ? Self.queueCounts : features[feature] ?? 0)
    case Opcode.abort: return NVMeResult(value: 1)  // the command was not aborted
    case Opcode.eventRequest:
      guard eventRequests < NVMeIdentity.eventRequests else {
        return NVMeResult(status: .tooManyEventRequests)
      }
      eventRequests += 1
      return nil
    default: return NVMeResult(status: .invalidOpcode)
    }
  }

  private static var queueCounts: UInt32 { UInt32(ioQueues - 1) | UInt32(ioQueues - 1) << 16 }

  private func setFeature(_ command: NVMeCommand) -> NVMeResult {
    let feature = UInt8(truncatingIfNeeded: command.word(10))
    if feature == Self.numberOfQueues { return NVMeResult(value: Self.queueCounts) }
    // Arbitration to asynchronous event configuration.
    guard 1...0x0B ~= feature else { return NVMeResult(status: .invalidField) }
    features[feature] = command.word(11)
    return NVMeResult()
  }

  private func identify(_ command: NVMeCommand, _ port: some DevicePort) -> NVMeStatus {
    let data: [UInt8]
    switch command.word(10) & 0xFF {
    case 0:
      guard command.namespace == 1 else { return .invalidNamespace }
      data = NVMeIdentity.namespace(blocks: image.blocks)
    case 1: data = NVMeIdentity.controller(vendor: Self.vendor, version: NVMeRegisters.version)
    case 2: data = NVMeIdentity.namespaces(after: command.namespace)
    default: return .invalidField
    }
    return transfer(command, toHost: data, port)
  }

  /// Returns a log page of zeros: no errors, no firmware, no events.
  private func logPage(_ command: NVMeCommand, _ port: some DevicePort) -> NVMeStatus {
    guard 1...3 ~= command.word(10) & 0xFF else { return .invalidLogPage }
    let count = (Int(command.word(10) >> 16) + 1) * 4
    guard command.word(11) & 0xFFFF == 0, count <= NVMeIdentity.size else { return .invalidField }
    return transfer(command, toHost: [UInt8](repeating: 0, count: count), port)
  }

  private func createCompletion(_ command: NVMeCommand) -> NVMeStatus {
    let (number, size, vector) = queueFields(command)
    guard 1...Self.ioQueues ~= number, completion[number] == nil else { return .invalidQueueIdentifier }
    guard 2...NVMeRegisters.mostEntries ~= size else { return .invalidQueueSize }
    guard command.word(11) & 1 != 0, command.prp1 % PRPList.pageSize == 0 else { return .invalidField }
    guard vector < 1 + Self.ioQueues else { return .invalidVector }
    clearDoorbell(2 * number + 1)
    completion[number] = CompletionQueue(
      base: command.prp1, size: size, vector: command.word(11) & 2 != 0 ? vector : nil)
    return .success
  }

  private func createSubmission(_ command: NVMeCommand) -> NVMeStatus {
    let (number, size, target) = queueFields(command)
    guard 1...Self.ioQueues ~= number, submission[number] == nil else { return .invalidQueueIdentifier }
    guard 2...NVMeRegisters.mostEntries ~= size else { return .invalidQueueSize }
    guard command.word(11) & 1 != 0, command.prp1 % PRPList.pageSize == 0 else { return .invalidField }
    guard target > 0, completion[target] != nil else { return .invalidCompletionQueue }
    clearDoorbell(2 * number)
    submission[number] = SubmissionQueue(base: command.prp1, size: size, completion: target)
    return .success
  }

  private func deleteCompletion(_ command: NVMeCommand) -> NVMeStatus {
    let number = Int(command.word(10) & 0xFFFF)
    guard number > 0, completion[number] != nil else { return .invalidQueueIdentifier }
    guard !submission.values.contains(where: { $0.completion == number }) else {
      return .invalidQueueDeletion
    }
    completion[number] = nil
    return .success
  }

  /// The number and the size of a queue, and its vector or its completion queue.
  private func queueFields(_ command: NVMeCommand) -> (number: Int, size: Int, target: Int) {
    (
      Int(command.word(10) & 0xFFFF), Int(command.word(10) >> 16) + 1, Int(command.word(11) >> 16)
    )
  }
}

/// Commands of the I/O queues (NVM Express NVM Command Set).
extension NVMeController {
  private enum Operation {
    static let flush: UInt8 = 0
    static let write: UInt8 = 1
    static let read: UInt8 = 2
  }

  private static let forceUnitAccess: UInt32 = 1 << 30

  /// Executes an I/O command.
  func executeIO(_ command: NVMeCommand, _ port: some DevicePort) -> NVMeResult? {
    guard command.namespace == 1 || command.opcode == Operation.flush && command.namespace == .max else {
      return NVMeResult(status: .invalidNamespace)
    }
    switch command.opcode {
    case Operation.flush: return NVMeResult(status: image.flush() ? .success : .internalError)
    case Operation.read, Operation.write: return NVMeResult(status: transferBlocks(command, port))
    default: return NVMeResult(status: .invalidOpcode)
    }
  }

  private func transferBlocks(_ command: NVMeCommand, _ port: some DevicePort) -> NVMeStatus {
    let block = UInt64(command.word(10)) | UInt64(command.word(11)) << 32
    let blocks = UInt64(command.word(12) & 0xFFFF) + 1
    let count = Int(blocks * NVMeImage.blockSize)
    guard image.contains(block, blocks) else { return .outOfRange }
    guard count <= NVMeIdentity.mostTransfer else { return .invalidField }
    if command.opcode == Operation.read {
      guard let bytes = image.read(block, count) else { return .internalError }
      return transfer(command, toHost: bytes, port)
    }
    switch PRPList.pages(command, count: count, port) {
    case .failure(let status): return status
    case .ranges(let ranges):
      var bytes: [UInt8] = []
      bytes.reserveCapacity(count)
      for range in ranges {
        guard let more = port.read(range) else { return .transferError }
        bytes += more
      }
      guard image.write(block, bytes) else { return .internalError }
      let isForced = command.word(12) & Self.forceUnitAccess != 0
      return !isForced || image.flush() ? .success : .internalError
    }
  }

  /// Writes data into the pages of a command.
  func transfer(_ command: NVMeCommand, toHost bytes: [UInt8], _ port: some DevicePort) -> NVMeStatus {
    switch PRPList.pages(command, count: bytes.count, port) {
    case .failure(let status): return status
    case .ranges(let ranges):
      var rest = bytes[...]
      for range in ranges {
        guard port.write(range.address, Array(rest.prefix(Int(range.size)))) else { return .transferError }
        rest = rest.dropFirst(Int(range.size))
      }
      return .success
    }
  }
}
