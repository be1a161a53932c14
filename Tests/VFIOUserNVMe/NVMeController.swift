// SPDX-License-Identifier: Apache-2.0

import VFIOUser
import VFIOUserServer

/// An NVMe controller with one namespace in a file (NVM Express Base 1.4).
///
/// BAR 0 has the registers, the doorbells at 0x1000 and the MSI-X table at 0x2000. With mapped doorbells, the host writes
/// them without a message, and the server reads them in intervals.
final class NVMeController: DeviceLogic {
  /// The number of pairs of I/O queues.
  static let ioQueues = 8
  /// The vendor of QEMU's controller.
  static let vendor: UInt16 = 0x1B36
  private static let doorbellEnd = 0x2000
  /// The commands of a queue that one call executes at most.
  private static let mostCommands = NVMeRegisters.mostEntries

  let identity = FunctionIdentity(
    vendor: vendor, device: 0x0010, classCode: 0x010802, msiVectors: 0,
    msix: MSIXLayout(bar: 0, offset: 0x2000, vectors: 1 + ioQueues))
  let bars: [BARLayout]
  let rom: [UInt8] = []
  let image: NVMeImage
  /// True if a write to a doorbell executes commands before its reply.
  private let isSynchronous: Bool
  var registers = NVMeRegisters()
  var submission: [Int: SubmissionQueue] = [:]
  var completion: [Int: CompletionQueue] = [:]
  /// Values of Set Features.
  var features: [UInt8: UInt32] = [:]
  /// The number of pending requests for asynchronous events.
  var eventRequests = 0
  /// The memory of the doorbells if the client can map them, or nil.
  private var doorbells: SharedMemory?

  /// Creates a controller after a reset.
  ///
  /// - Parameters:
  ///   - image: The namespace.
  ///   - hasMappedDoorbells: The client can map the doorbells.
  ///   - isSynchronous: A write to a doorbell executes commands before its reply.
  init(_ image: consuming NVMeImage, hasMappedDoorbells: Bool, isSynchronous: Bool) {
    self.image = image
    self.isSynchronous = isSynchronous
    let doorbells = NVMeRegisters.Offset.doorbells..<Self.doorbellEnd
    bars = [BARLayout(index: 0, size: 0x4000, is64Bit: true, mappable: hasMappedDoorbells ? [doorbells] : [])]
  }

  func read(bar: Int, _ offset: Int, _ count: Int) -> [UInt8] {
    let bytes = registers.bytes
    return (offset..<offset + count).map { $0 < bytes.count ? bytes[$0] : 0 }
  }

  func write(bar: Int, _ offset: Int, _ bytes: [UInt8], _ port: some DevicePort) {
    if NVMeRegisters.Offset.doorbells..<Self.doorbellEnd ~= offset {
      guard bytes.count == 4, offset % 4 == 0 else { return }
      let value = bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
      ring((offset - NVMeRegisters.Offset.doorbells) / 4, Int(value))
      if isSynchronous { _ = execute(port) }
      return
    }
    // An 8-byte access to a 64-bit register is two of 4 bytes.
    guard bytes.count == 4 || bytes.count == 8, offset % 4 == 0 else { return }
    for at in stride(from: 0, to: bytes.count, by: 4) {
      writeRegister(offset + at, bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
    }
  }

  private func writeRegister(_ offset: Int, _ value: UInt32) {
    typealias Offset = NVMeRegisters.Offset
    func merged(_ old: UInt64, high: Bool) -> UInt64 {
      high ? old & 0xFFFF_FFFF | UInt64(value) << 32 : old & ~0xFFFF_FFFF | UInt64(value)
    }
    switch offset {
    case Offset.maskSet: registers.mask |= value
    case Offset.maskClear: registers.mask &= ~value
    case Offset.configuration: configure(value)
    case Offset.adminAttributes: registers.adminAttributes = value
    case Offset.adminSubmission: registers.adminSubmission = merged(registers.adminSubmission, high: false)
    case Offset.adminSubmission + 4: registers.adminSubmission = merged(registers.adminSubmission, high: true)
    case Offset.adminCompletion: registers.adminCompletion = merged(registers.adminCompletion, high: false)
    case Offset.adminCompletion + 4: registers.adminCompletion = merged(registers.adminCompletion, high: true)
    default: break
    }
  }

  private func configure(_ value: UInt32) {
    switch registers.configure(value) {
    case .none: break
    case .start:
      let (entries, results) = (registers.adminSubmissionEntries, registers.adminCompletionEntries)
      let mask = ~(PRPList.pageSize - 1)
      submission = [
        0: SubmissionQueue(base: registers.adminSubmission & mask, size: entries, completion: 0)
      ]
      completion = [0: CompletionQueue(base: registers.adminCompletion & mask, size: results, vector: 0)]
      // A queue of one entry can hold no command.
      if entries < 2 || results < 2 { registers.fail() }
    case .stop: clear()
    case .shutdown: flush()
    }
  }

  private func clear() {
    for index in 0..<2 * (1 + Self.ioQueues) { clearDoorbell(index) }
    (submission, completion, features, eventRequests) = ([:], [:], [:], 0)
  }

  /// Performs a write to a doorbell. An invalid queue or value has no effect.
  private func ring(_ index: Int, _ value: Int) {
    let queue = index / 2
    if index % 2 == 0 {
      if let size = submission[queue]?.size, value < size { submission[queue]?.tail = value }
    } else if let size = completion[queue]?.size, value < size {
      completion[queue]?.head = value
    }
  }

  func attach(_ memory: [Int: SharedMemory]) { doorbells = memory[0] }

  /// Sets a mapped doorbell to zero. Its value belongs to an earlier queue.
  func clearDoorbell(_ index: Int) {
    doorbells?.write(NVMeRegisters.Offset.doorbells + 4 * index, [0, 0, 0, 0])
  }

  func work(_ port: some DevicePort) -> Bool {
    guard registers.isReady else { return false }
    if let doorbells {
      for queue in 0...Self.ioQueues {
        for index in [2 * queue, 2 * queue + 1] {
          ring(index, Int(doorbells.load32(NVMeRegisters.Offset.doorbells + 4 * index)))
        }
      }
    }
    return execute(port)
  }

  /// Executes the commands of all queues. Returns true if there were some.
  private func execute(_ port: some DevicePort) -> Bool {
    var hasWorked = false
    for number in 0...Self.ioQueues {
      for _ in 0..<Self.mostCommands {
        guard registers.isReady, let queue = submission[number], queue.head != queue.tail,
          completion[queue.completion]?.isFull == false
        else { break }
        executeNext(number, queue, port)
        hasWorked = true
      }
    }
    return hasWorked
  }

  private func executeNext(_ number: Int, _ queue: SubmissionQueue, _ port: some DevicePort) {
    let range = IOVARange(
      address: queue.base &+ UInt64(queue.head * NVMeCommand.size), size: UInt64(NVMeCommand.size))
    guard let bytes = port.read(range) else {
      registers.fail()
      return
    }
    let command = NVMeCommand(bytes)
    let head = (queue.head + 1) % queue.size
    submission[number]?.head = head
    let result = number == 0 ? executeAdmin(command, port) : executeIO(command, port)
    guard let result else { return }
    post(result, command, number, head: head, to: queue.completion, port)
  }

  /// Posts a completion, then signals its vector. The double word with the phase is written last.
  private func post(
    _ result: NVMeResult, _ command: NVMeCommand, _ number: Int, head: Int, to index: Int,
    _ port: some DevicePort
  ) {
    guard let queue = completion[index] else { return }
    let status = UInt32(result.status.field) << 1 | (queue.phase ? 1 : 0)
    let words = [
      result.value, 0, UInt32(head) | UInt32(number) << 16, UInt32(command.identifier) | status << 16,
    ]
    let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
    let address = queue.base &+ UInt64(queue.tail * CompletionQueue.entrySize)
    guard port.write(address, Array(bytes.prefix(12))), port.write(address &+ 12, Array(bytes.suffix(4)))
    else {
      registers.fail()
      return
    }
    completion[index]?.advance()
    if let vector = queue.vector { port.signal(vector) }
  }

  func reset() {
    registers = NVMeRegisters()
    clear()
  }

  func flush() {
    // A failure at the end cannot be reported. A flush command reports its failure.
    _ = image.flush()
  }
}
