// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import VFIOUser

/// Commands of the client.
extension Session {
  /// The result of a command.
  enum Outcome {
    /// A reply with a body and descriptors.
    case body([UInt8], descriptors: [Int32] = [])
    /// An error reply.
    case errno(Int32)
    /// No reply.
    case silence
  }

  /// Handles a command and replies.
  func handle(_ message: Message) throws(ConnectionFault) {
    injector.next()
    let header = message.header
    if injector.present.contains(.crash) { endProcess(70) }
    guard let command = Command(rawValue: header.command), !command.isServers else {
      try reply(to: header, [], errno: EINVAL)
      return
    }
    guard (client == nil) == (command == .version) else { throw .unexpectedCommand(header.command) }
    let port = SessionPort(self)
    if injector.present.contains(.earlyInterrupt) { lines.signal(lines.messageKind ?? 0, 0) }
    if injector.present.contains(.strayDMA), client != nil { port.stray() }
    // A malformed body is an error of this command. The stream is at the start of a message.
    let outcome: Outcome
    do throws(MessageError) {
      outcome = command == .version ? try negotiate(message) : try perform(command, message, port)
    } catch { outcome = .errno(EINVAL) }
    if let fault = port.fault { throw fault }
    switch outcome {
    case .body(let body, let descriptors): try reply(to: header, body, descriptors: descriptors)
    case .errno(let number): try reply(to: header, [], errno: number)
    case .silence: break
    }
    // The client's end of the second socket belongs to the client alone.
    newTwin = nil
  }

  /// Replies to VERSION, and creates the second socket.
  private func negotiate(_ message: Message) throws(MessageError) -> Outcome {
    try requireDescriptors(message, 0)
    let version = try Version(parsing: message.body[...])
    guard version.major == Version.major else { return .errno(EINVAL) }
    var own = Capabilities()
    own.messageDescriptors = UInt64(settings.messageDescriptors)
    own.transferSize = UInt64(Self.transferSize)
    own.dmaMaps = UInt64(ClientMemory.mostRanges)
    var descriptors: [Int32] = []
    if settings.offersTwinSocket, version.capabilities.twinSocket, let number = makeTwin() {
      (own.twinSocket, own.twinSocketIndex) = (true, 0)
      descriptors = [number]
    }
    client = version.capabilities
    // The reply has the lower of both minor versions. QEMU 11.1 has 0, and refuses a higher one.
    let reply = Version(minor: min(version.minor, Version.minor), capabilities: own)
    return .body(reply.encoded, descriptors: descriptors)
  }

  private func perform(
    _ command: Command, _ message: Message, _ port: SessionPort<Logic>
  ) throws(MessageError) -> Outcome {
    let body = message.body[...]
    if command != .dmaMap, command != .setIRQs { try requireDescriptors(message, 0) }
    switch command {
    case .dmaMap: return try map(message)
    case .dmaUnmap:
      let request = try DMAUnmap(parsing: body)
      let errno = memory.unmap(request.range)
      return errno == 0 ? .body(request.encoded) : .errno(errno)
    case .deviceInfo:
      _ = try DeviceInfo(parsing: body)
      let info = DeviceInfo(
        flags: [.reset, .pci], regions: UInt32(ServedFunction<Logic>.regionCount),
        interrupts: UInt32(function.vectors.count))
      return .body(info.encoded)
    case .regionInfo:
      let request = try RegionInfoRequest(parsing: body)
      guard request.index < ServedFunction<Logic>.regionCount else { return .errno(EINVAL) }
      let info = function.info(Int(request.index))
      let whole = info.encoded
      guard Int(request.argumentSize) >= whole.count else { return .body(info.encodedWithoutCapabilities) }
      return .body(whole, descriptors: function.memory[Int(request.index)].map { [$0.number] } ?? [])
    case .irqInfo:
      let request = try IRQInfo(parsing: body)
      guard request.index < function.vectors.count else { return .errno(EINVAL) }
      let flags: IRQInfo.Flags = request.index == 0 ? [.eventfd, .maskable, .automasked] : [.eventfd]
      let info = IRQInfo(index: request.index, flags: flags, count: UInt32(lines.count(request.index)))
      return .body(info.encoded)
    case .setIRQs: return try setInterrupts(message)
    case .regionRead: return try read(RegionAccess(parsing: body))
    case .regionWrite: return try write(RegionAccess(parsing: body), port)
    case .deviceReset:
      guard body.isEmpty else { return .errno(EINVAL) }
      function.reset()
      injector.reset()
      port.deassert()
      return .body([])
    case .version, .dmaRead, .dmaWrite: return .errno(EINVAL)
    }
  }

  private func requireDescriptors(_ message: Message, _ count: Int) throws(MessageError) {
    guard message.descriptorCount == count else {
      throw MessageError("\(message.header.command)", .descriptors(message.descriptorCount, expected: count))
    }
  }

  /// Takes a descriptor of a message, or returns nil if it has none.
  private static func take(_ message: Message, _ index: Int) -> SharedDescriptor? {
    guard let descriptor = message.descriptors?.take(index) else { return nil }
    return SharedDescriptor(descriptor)
  }

  private func map(_ message: Message) throws(MessageError) -> Outcome {
    let request = try DMAMap(parsing: message.body[...])
    if message.descriptorCount > 1 { try requireDescriptors(message, 1) }
    let file = settings.ignoresDescriptors ? nil : Self.take(message, 0)
    let errno = memory.map(request, file)
    return errno == 0 ? .body([]) : .errno(errno)
  }

  private func read(_ access: RegionAccess) -> Outcome {
    guard access.data.isEmpty, function.contains(access.region, access.offset, Int(access.count)),
      access.count <= Self.transferSize
    else { return .errno(EINVAL) }
    if injector.isDead(access.region) { return .silence }
    if settings.isStrict, function.isPending(access) { return .errno(EINVAL) }
    var bytes = function.read(Int(access.region), Int(access.offset), Int(access.count))
    if injector.isAllOnes, access.region == 7 { bytes = [UInt8](repeating: .max, count: bytes.count) }
    return .body(RegionAccess(region: access.region, offset: access.offset, data: bytes).encoded)
  }

  private func write(_ access: RegionAccess, _ port: SessionPort<Logic>) -> Outcome {
    guard access.data.count == access.count,
      function.contains(access.region, access.offset, Int(access.count))
    else { return .errno(EINVAL) }
    if injector.isDead(access.region) { return .silence }
    if function.write(Int(access.region), Int(access.offset), access.data, port) {
      injector.reset()
      port.deassert()
    }
    if access.region == 7 {
      // The write can have changed Interrupt Disable.
      lines.update(isDisabled: function.config.isInterruptDisabled)
    }
    // libvfio-user's server keeps the bits that it implements, and then refuses the write.
    if settings.isStrict, access.region == 7, ConfigSpace.isRefused(access) { return .errno(EINVAL) }
    return .body(RegionAccess(region: access.region, offset: access.offset, count: access.count).encoded)
  }

  private func setInterrupts(_ message: Message) throws(MessageError) -> Outcome {
    let set = try IRQSet(parsing: message.body[...])
    guard set.index < function.vectors.count, Int(set.start) + Int(set.count) <= lines.count(set.index) else {
      return .errno(EINVAL)
    }
    let index = Int(set.index)
    guard set.count > 0 else {
      try requireDescriptors(message, 0)
      lines.disable(index)
      return .body([])
    }
    let vectors = Int(set.start)..<Int(set.start) + Int(set.count)
    switch set.data {
    case .eventfds:
      if message.descriptorCount > 0 { try requireDescriptors(message, vectors.count) }
      let events = (0..<vectors.count).map { Self.take(message, $0) }
      return attach(events, set.action, index, vectors)
    case .none:
      try requireDescriptors(message, 0)
      for vector in vectors { apply(set.action, index, vector) }
    case .bools(let values):
      try requireDescriptors(message, 0)
      for (vector, value) in zip(vectors, values) where value { apply(set.action, index, vector) }
    }
    return .body([])
  }

  private func attach(
    _ events: [SharedDescriptor?], _ action: IRQSet.Action, _ index: Int, _ vectors: Range<Int>
  ) -> Outcome {
    switch action {
    case .trigger:
      for (vector, event) in zip(vectors, events) { lines.setTrigger(index, vector, event) }
      lines.update(isDisabled: function.config.isInterruptDisabled)
    case .unmask where index == 0: lines.setUnmask(events.first ?? nil)
    case .unmask, .mask: return .errno(EINVAL)
    }
    return .body([])
  }

  private func apply(_ action: IRQSet.Action, _ index: Int, _ vector: Int) {
    switch action {
    case .trigger: lines.signal(index, vector)
    case .mask where index == 0: lines.setMask(true, isDisabled: function.config.isInterruptDisabled)
    case .unmask where index == 0: lines.setMask(false, isDisabled: function.config.isInterruptDisabled)
    case .mask, .unmask: break
    }
  }
}
