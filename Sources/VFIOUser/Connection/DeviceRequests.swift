// SPDX-License-Identifier: Apache-2.0

public import Linux
internal import Seams

/// A region of the device, and its file.
public struct RegionReply: Sendable {
  /// The size and the mappable areas.
  public let info: RegionInfo
  /// The file to map, at ``RegionInfo/fileOffset``; nil if the region is accessed by messages alone.
  public let file: SharedDescriptor?
}

/// Requests about regions and the device. Each ends the connection if the reply is malformed or late.
extension Connection {
  /// Returns the properties of the device (DEVICE_GET_INFO).
  public func deviceInfo() throws(ConnectionError) -> DeviceInfo {
    try request(.deviceInfo, DeviceInfo().encoded, as: DeviceInfo.self)
  }

  /// Returns the number of vectors of a kind of interrupt (DEVICE_GET_IRQ_INFO).
  ///
  /// - Parameter index: VFIO_PCI_*_IRQ_INDEX.
  public func irqInfo(_ index: UInt32) throws(ConnectionError) -> IRQInfo {
    let info = try request(.irqInfo, IRQInfo(index: index).encoded, as: IRQInfo.self)
    guard info.index == index else { throw end(malformed(.irqInfo, "index", UInt64(info.index))) }
    guard info.count <= IRQSet.mostVectors else {
      throw end(malformed(.irqInfo, "count", UInt64(info.count)))
    }
    return info
  }

  /// Returns a region and its file (DEVICE_GET_REGION_INFO). A reply whose capabilities do not fit is requested again.
  ///
  /// - Parameter index: VFIO_PCI_*_REGION_INDEX.
  public func regionInfo(_ index: UInt32) throws(ConnectionError) -> RegionReply {
    var size = RegionInfo.size
    while true {
      let body = RegionInfoRequest(index: index, argumentSize: UInt32(size)).encoded
      let message = try request(.regionInfo, body)
      do throws(MessageError) {
        let needed = try RegionInfo.neededSize(message.body[...])
        guard needed <= RegionInfo.mostBytes else {
          throw MessageError("\(Command.regionInfo)", .value("argsz", UInt64(needed)))
        }
        if needed > size {
          size = needed
          continue
        }
        let info = try RegionInfo(parsing: message.body[...])
        guard info.index == index else {
          throw MessageError("\(Command.regionInfo)", .value("index", UInt64(info.index)))
        }
        return try RegionReply(info: info, file: Self.file(of: message, info))
      } catch { throw end(.malformed(error)) }
    }
  }

  /// Returns the descriptor of a region. Only a mappable region has one, or none.
  private static func file(of message: Message, _ info: RegionInfo) throws(MessageError) -> SharedDescriptor?
  {
    let most = info.flags.contains(.mappable) ? 1 : 0
    guard message.descriptorCount <= most else {
      throw MessageError("\(Command.regionInfo)", .descriptors(message.descriptorCount, expected: most))
    }
    guard let descriptor = message.descriptors?.take(0) else { return nil }
    return SharedDescriptor(descriptor)
  }

  /// Reads bytes of a region (REGION_READ).
  ///
  /// - Parameters:
  ///   - region: VFIO_PCI_*_REGION_INDEX.
  ///   - offset: Bytes from the start of the region.
  ///   - count: Bytes; at most ``transferLimit``.
  public func read(_ region: UInt32, offset: UInt64, count: Int) throws(ConnectionError) -> [UInt8] {
    let access = RegionAccess(region: region, offset: offset, count: UInt32(count))
    let reply = try request(.regionRead, access.encoded, as: RegionAccess.self)
    try requireSame(reply, access, .regionRead)
    guard reply.data.count == count else {
      let fault = MessageError("\(Command.regionRead)", .size(reply.data.count, expected: count...count))
      throw end(.malformed(fault))
    }
    return reply.data
  }

  /// Writes bytes of a region (REGION_WRITE), and waits for the server's reply.
  ///
  /// - Parameters:
  ///   - region: VFIO_PCI_*_REGION_INDEX.
  ///   - offset: Bytes from the start of the region.
  ///   - bytes: At most ``transferLimit`` bytes.
  public func write(_ region: UInt32, offset: UInt64, _ bytes: [UInt8]) throws(ConnectionError) {
    let access = RegionAccess(region: region, offset: offset, data: bytes)
    let deadline = region == UInt32(RegionIndex.config) ? configuration.quietDeadline : configuration.deadline
    let reply = try request(.regionWrite, access.encoded, within: deadline, as: RegionAccess.self)
    try requireSame(reply, access, .regionWrite)
    guard reply.data.isEmpty else {
      let fault = MessageError("\(Command.regionWrite)", .size(reply.data.count, expected: 0...0))
      throw end(.malformed(fault))
    }
  }

  /// Reads 1, 2, 4 or 8 bytes of a region, little-endian.
  public func read(_ region: UInt32, offset: UInt64, width: Int) throws(ConnectionError) -> UInt64 {
    try read(region, offset: offset, count: width).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// Writes 1, 2, 4 or 8 bytes of a region, little-endian.
  ///
  /// A write that may be posted waits for the server's reply only if it must (``PostedWrites``). An error of the server for a
  /// posted write is not reported.
  ///
  /// - Parameters:
  ///   - region: VFIO_PCI_*_REGION_INDEX.
  ///   - offset: Bytes from the start of the region.
  ///   - width: Bytes.
  ///   - value: The value.
  ///   - isPosted: True if the write may be posted.
  public func write(
    _ region: UInt32, offset: UInt64, width: Int, _ value: UInt64, isPosted: Bool = false
  ) throws(ConnectionError) {
    if isPosted, posting.isNextPosted() {
      do throws(ConnectionFault) {
        let id = try requests.unusedID()
        try channel.send(
          PostedWrite(id: id, region: region, offset: offset, width: width, value),
          within: configuration.deadline)
      } catch { throw end(error) }
      return
    }
    try write(region, offset: offset, (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) })
    if isPosted, mapped.count > 0 { posting.countReply() }
  }

  /// The maximum number of data bytes of a read or a write.
  public var transferLimit: Int {
    Int(clamping: min(server.transferSize, configuration.capabilities.transferSize))
  }

  /// Resets the device (DEVICE_RESET). The deadline is ``Configuration/quietDeadline``.
  public func reset() throws(ConnectionError) {
    try requestWithoutBody(.deviceReset, [], within: configuration.quietDeadline)
  }

  /// Throws an error unless a reply has the region, the offset and the count of its request.
  private func requireSame(
    _ reply: RegionAccess, _ access: RegionAccess, _ command: Command
  ) throws(ConnectionError) {
    if reply.region != access.region { throw end(malformed(command, "region", UInt64(reply.region))) }
    if reply.offset != access.offset { throw end(malformed(command, "offset", reply.offset)) }
    if reply.count != access.count { throw end(malformed(command, "count", UInt64(reply.count))) }
  }

  func malformed(_ command: Command, _ field: String, _ value: UInt64) -> ConnectionFault {
    .malformed(MessageError("\(command)", .value(field, value)))
  }
}
