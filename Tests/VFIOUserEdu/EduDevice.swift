// SPDX-License-Identifier: Apache-2.0

import VFIOUser
import VFIOUserServer

/// The parts of the device that the client can map.
enum EduLayout: String, CaseIterable {
  /// Every access is a message.
  case messages
  /// BAR 0 except its first page, and BAR 2.
  case mapped
  /// As `mapped`, with 16 MiB in BAR 2 and the IDs of ivshmem-plain. Some guests need a large BAR of memory.
  case memory
}

/// A device with the registers of QEMU's edu (QEMU docs/specs/edu.rst), and more: memory, MSI-X, a ROM and
/// function-level reset.
///
/// - BAR 0: 1 MiB. The registers are in the first page, the DMA buffer of 4 KiB is at 0x40000. With the layout `mapped`,
///   the rest is memory that the client can map.
/// - BAR 2: memory, 64-bit, prefetchable, of 64 KiB, or 16 MiB with the layout `memory`. It is not mappable with the layout
///   `messages`.
/// - BAR 4: the MSI-X table of four vectors.
final class EduDevice: DeviceLogic {
  private static let identification: UInt32 = 0x0100_00ED
  private static let bufferOffset = 0x40000
  private static let pageSize = 4096
  private static let registerBAR = 0
  private static let memoryBAR = 2

  private enum Register {
    static let identification = 0x00
    static let liveness = 0x04
    static let factorial = 0x08
    static let status = 0x20
    static let interruptStatus = 0x24
    static let interruptRaise = 0x60
    static let interruptAcknowledge = 0x64
    static let dmaSource = 0x80
    static let dmaDestination = 0x88
    static let dmaCount = 0x90
    static let dmaCommand = 0x98
  }

  private static let interruptAfterFactorial: UInt32 = 0x80
  private static let startDMA: UInt64 = 1
  private static let toMemory: UInt64 = 2
  private static let interruptAfterDMA: UInt64 = 4
  private static let dmaCause: UInt32 = 0x100

  private struct Registers {
    var liveness: UInt32 = 0
    var factorial: UInt32 = 0
    var status: UInt32 = 0
    var interruptStatus: UInt32 = 0
    var source: UInt64 = 0
    var destination: UInt64 = 0
    var count: UInt64 = 0
    var command: UInt64 = 0
  }

  let identity: FunctionIdentity
  let bars: [BARLayout]
  let rom: [UInt8]
  private var registers = Registers()
  private var buffer = [UInt8](repeating: 0, count: pageSize)
  /// Memory of BAR 2 while it is not mappable.
  private var memory: [UInt8]

  /// Creates the device after a reset.
  init(_ layout: EduLayout) {
    let isMapped = layout != .messages
    let memorySize = layout == .memory ? 16 << 20 : 1 << 16
    memory = isMapped ? [] : [UInt8](repeating: 0, count: memorySize)
    let (vendor, device): (UInt16, UInt16) = layout == .memory ? (0x1AF4, 0x1110) : (0x1234, 0x11E8)
    identity = FunctionIdentity(
      vendor: vendor, device: device, classCode: 0x00FF00, msiVectors: 1,
      msix: MSIXLayout(bar: 4, offset: 0, vectors: 4))
    bars = [
      BARLayout(
        index: Self.registerBAR, size: 1 << 20, mappable: isMapped ? [Self.pageSize..<1 << 20] : []),
      BARLayout(
        index: Self.memoryBAR, size: memorySize, is64Bit: true, isPrefetchable: true,
        mappable: isMapped ? [0..<memorySize] : []),
      BARLayout(index: 4, size: 2 * Self.pageSize),
    ]
    var rom = [UInt8](repeating: 0, count: 2048)
    // A firmware calls the fourth byte, a far return, if all bytes add up to 0.
    (rom[0], rom[1], rom[2], rom[3]) = (0x55, 0xAA, 4, 0xCB)
    // The PCI data structure of the first image (PCI Firmware 3.0 §5.1.2): vendor, device, length of the structure and of the
    // image, last image.
    rom[0x18] = 0x1C
    rom.replaceSubrange(0x1C..<0x24, with: Array("PCIR".utf8) + [0x34, 0x12, 0xE8, 0x11])
    (rom[0x26], rom[0x2C], rom[0x31]) = (0x18, 4, 0x80)
    for index in 64..<rom.count { rom[index] = UInt8(truncatingIfNeeded: index &* 7) }
    rom[rom.count - 1] &-= rom.reduce(0, &+)
    self.rom = rom
  }

  func read(bar: Int, _ offset: Int, _ count: Int) -> [UInt8] {
    if bar == Self.memoryBAR { return Array(memory[offset..<offset + count]) }
    let value: UInt64? = bar == Self.registerBAR && (count == 4 || count == 8) ? register(offset) : nil
    guard let value else { return [UInt8](repeating: .max, count: count) }
    return (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }

  private func register(_ offset: Int) -> UInt64? {
    switch offset {
    case Register.identification: UInt64(Self.identification)
    case Register.liveness: UInt64(registers.liveness)
    case Register.factorial: UInt64(registers.factorial)
    case Register.status: UInt64(registers.status)
    case Register.interruptStatus: UInt64(registers.interruptStatus)
    case Register.dmaSource: registers.source
    case Register.dmaDestination: registers.destination
    case Register.dmaCount: registers.count
    case Register.dmaCommand: registers.command
    default: nil
    }
  }

  func write(bar: Int, _ offset: Int, _ bytes: [UInt8], _ port: some DevicePort) {
    if bar == Self.memoryBAR {
      memory.replaceSubrange(offset..<offset + bytes.count, with: bytes)
      return
    }
    guard bar == Self.registerBAR, bytes.count == 4 || bytes.count == 8 else { return }
    let value = bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    let word = UInt32(truncatingIfNeeded: value)
    switch offset {
    case Register.liveness: registers.liveness = ~word
    case Register.factorial: computeFactorial(word, port)
    case Register.status: registers.status = word & Self.interruptAfterFactorial
    case Register.interruptRaise: raise(word, port)
    case Register.interruptAcknowledge:
      registers.interruptStatus &= ~word
      if registers.interruptStatus == 0 { port.deassert() }
    case Register.dmaSource: registers.source = value
    case Register.dmaDestination: registers.destination = value
    case Register.dmaCount: registers.count = value
    case Register.dmaCommand where value & Self.startDMA != 0: transfer(value, port)
    default: break
    }
  }

  private func computeFactorial(_ number: UInt32, _ port: some DevicePort) {
    // The product of more factors than 2^34 divides is 0.
    registers.factorial = number > 33 ? 0 : (1...max(1, number)).reduce(1, &*)
    if registers.status & Self.interruptAfterFactorial != 0 { raise(1, port) }
  }

  private func raise(_ causes: UInt32, _ port: some DevicePort) {
    registers.interruptStatus |= causes
    if registers.interruptStatus != 0 { port.signal(0) }
  }

  /// Copies between the client's memory and the buffer. The reply to the write is sent after it.
  private func transfer(_ command: UInt64, _ port: some DevicePort) {
    registers.command = command & ~Self.startDMA
    let isToMemory = command & Self.toMemory != 0
    let inside = isToMemory ? registers.source : registers.destination
    let base = UInt64(Self.bufferOffset)
    guard inside >= base, inside < base + UInt64(Self.pageSize), registers.count > 0,
      registers.count <= base + UInt64(Self.pageSize) - inside
    else { return }
    let start = Int(inside - base)
    let range = start..<start + Int(registers.count)
    let isDone: Bool
    if isToMemory {
      isDone = port.write(registers.destination, Array(buffer[range]))
    } else if let bytes = port.read(IOVARange(address: registers.source, size: registers.count)) {
      buffer.replaceSubrange(range, with: bytes)
      isDone = true
    } else {
      isDone = false
    }
    if isDone, command & Self.interruptAfterDMA != 0 { raise(Self.dmaCause, port) }
  }

  func attach(_ memory: [Int: SharedMemory]) {}

  func work(_ port: some DevicePort) -> Bool { false }

  func reset() {
    registers = Registers()
    buffer = [UInt8](repeating: 0, count: buffer.count)
    memory = [UInt8](repeating: 0, count: memory.count)
  }

  func flush() {}
}
