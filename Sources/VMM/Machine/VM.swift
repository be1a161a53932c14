// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Logging
internal import PCI
internal import Passthrough
internal import Seams

/// A virtual machine with its threads and devices. The guest runs from ``start()`` to ``stop()``. After that,
/// ``release()`` must return the devices to the host.
struct VM<B: HostBackend> {
  let builder: MachineBuilder<B>
  let population: Population<B>
  private let threads: VMThreads<B>
  private let shutdown: ShutdownRequest
  let eventLog: EventLog

  /// The status of a VM.
  struct Status {
    /// The outcome, or nil if the VM has not ended.
    let outcome: Outcome?
    /// The status of each function.
    let functions: [FunctionStatus]
  }

  /// Creates the threads of a machine. The guest waits for ``start()``.
  init(
    _ builder: MachineBuilder<B>, _ configuration: Configuration, eventLog: EventLog,
    shutdown: ShutdownRequest, control: ControlServer? = nil
  ) throws(RunError) {
    self.builder = builder
    population = Population(builder.devices.functions)
    self.eventLog = eventLog
    self.shutdown = shutdown
    let status = MachineStatus(
      population: population, shutdown: shutdown, cpus: configuration.cpus, memory: configuration.memory)
    threads = try VMThreads(
      builder, configuration, eventLog: eventLog, shutdown: shutdown, server: control, status: status)
  }

  /// The serial port.
  var serial: Serial { builder.serial }

  /// The assigned functions.
  var functions: [AssignedFunction<B>] { population.functions }

  /// The current status.
  var status: Status {
    Status(outcome: shutdown.outcome, functions: functions.map { FunctionStatus($0) })
  }

  /// Confines the calling thread and starts the guest.
  func start() throws(KernelError) { try threads.start() }

  /// The ports.
  var ports: [Port<B>] { builder.root.ports }

  /// Handles a notification from the host's kernel about a device. A failure ends the VM.
  ///
  /// - Parameters:
  ///   - notification: The notification.
  ///   - number: The number of the function in ``population``.
  func handle(_ notification: DeviceNotification, of number: Int) {
    guard let function = population.function(number) else { return }
    do throws(FunctionError) {
      if let port = ports.first(where: { $0.has(function) }) {
        guard try function.take(notification) else { return }
        switch notification {
        case .error: try port.contain()
        case .request: try port.requestRemoval(by: Clock.microseconds() + Self.removalTime)
        }
      } else {
        try function.handle(notification)
      }
    } catch { shutdown.end(.failure(.function(error))) }
  }

  /// The time in microseconds that the guest gets to release a device that the host requests. Linux waits five seconds
  /// after a press of the attention button.
  private static var removalTime: Int64 { 10_000_000 }

  /// The time in microseconds on the clock at which the VM must call ``act(at:)``, or nil.
  var deadline: Int64? { ports.compactMap(\.deadline).min() }

  /// Inserts devices whose slot is quiet again, and removes devices that the guest has not released in time. A failure
  /// ends the VM.
  func act(at time: Int64) {
    for port in ports {
      do throws(FunctionError) { try port.act(at: time) } catch {
        shutdown.end(.failure(.function(error)))
      }
    }
  }

  /// The descriptor that is readable while devices have left the guest and are not yet returned to the host.
  var departureNumber: Int32 { builder.departures.number }

  /// Returns the devices that have left the guest to the host. A failure ends the VM.
  func returnDeparted() throws(KernelError) {
    for function in try builder.departures.take() {
      do throws(FunctionError) { try function.release() } catch {
        shutdown.end(.failure(.function(error)))
      }
      forget(function)
    }
  }

  /// Closes the files of a device that has been released, and unmaps guest RAM after the last device.
  func forget(_ function: AssignedFunction<B>) {
    population.remove(function, keepingFirst: builder.devices.functions.count)
    guard let backend = builder.devices.backend else { return }
    // While threads pin guest RAM, the group or the cdev must stay. It then stays until the VM ends.
    if backend.isLast(function.address), !removeSpaces() { return }
    backend.remove(function.address)
  }

  /// Unmaps guest RAM from the I/O address spaces, which have no device. Returns false if threads still pin it.
  func removeSpaces() -> Bool {
    do throws(OperationError) {
      return try builder.devices.dma?.removeSpaces(unmapped: eventLog.unpinned) ?? true
    } catch {
      eventLog.log.warning("guest RAM stays pinned: \(error)")
      return true
    }
  }

  /// Removes a device from the guest and returns it to the host. A device behind a port leaves when the guest has released
  /// it, or after a time. A failure of the operation itself ends the VM.
  ///
  /// - Returns: The function. The device has been returned when it is no longer open.
  @discardableResult
  func remove(_ address: String) throws(ControlError) -> AssignedFunction<B> {
    let members = functions.filter { $0.address == address }
    guard let function = members.last else { throw .noDevice(address, .remove) }
    guard function.isOpen else { throw .released(device: address, .remove) }
    do throws(FunctionError) {
      if let port = ports.first(where: { $0.has(function) }) {
        try port.requestRemoval(by: Clock.microseconds() + Self.removalTime)
      } else {
        try function.remove()
      }
    } catch {
      shutdown.end(.failure(.function(error)))
      throw .failed(error, .remove)
    }
    return function
  }

  /// Reports an error of a device behind a port to the guest. A failure of the operation itself ends the VM.
  func inject(_ error: InjectedError, _ address: String) throws(ControlError) {
    guard let function = functions.last(where: { $0.address == address }) else {
      throw .noDevice(address, .inject)
    }
    guard function.isOpen else { throw .released(device: address, .inject) }
    guard let port = ports.first(where: { $0.function === function }) else {
      throw .noPort(device: address, .inject)
    }
    do throws(FunctionError) {
      switch error {
      case .correctable: port.report(.correctable)
      case .nonFatal: port.report(.nonFatal)
      case .fatal: try port.contain()
      }
    } catch {
      shutdown.end(.failure(.function(error)))
      throw .failed(error, .inject)
    }
  }

  /// Presses the guest's power button.
  ///
  /// - Parameter time: The time in microseconds that the guest gets to power off.
  func pressPowerButton(within time: Int64) {
    builder.powerButton.press()
    eventLog.stopWaits(time)
  }

  /// Stops all vCPUs permanently.
  func stop() {
    for function in functions { function.stopWaiting() }
    threads.stop()
  }

  /// Sends the last events to the clients of the control socket and closes their connections.
  func endControl() { threads.endControl() }

  /// Closes the gates, returns the devices to the host and frees guest RAM. No vCPU may run.
  ///
  /// - Returns: The failures.
  func release() -> [FunctionError] {
    var failures: [FunctionError] = []
    for function in functions {
      do throws(FunctionError) { try function.quiesce() } catch { failures.append(error) }
    }
    let added = functions.dropFirst(builder.devices.functions.count)
    return failures + threads.releaseDevices(Array(added), during: freeMemory)
  }

  /// Unpins and frees guest RAM. The devices are no longer bus masters. If a device's gate could not be
  /// closed, the IOMMU blocks its DMA.
  private func freeMemory() {
    func warn(_ cause: String) {
      eventLog.log.warning("guest RAM: not freed before the process ends: \(cause)")
    }
    do throws(OperationError) { try builder.devices.dma?.unpinMemory(unmapped: eventLog.unpinned) } catch {
      return warn(error.description)
    }
    do throws(KernelError) { try builder.memory.discard() } catch { warn(error.description) }
  }
}

/// The status of one function.
struct FunctionStatus {
  /// The device's address on the host.
  let address: String
  let statistics: FunctionStatistics
  let presence: FunctionPresence

  init(_ function: AssignedFunction<some Backend>) {
    address = function.address
    statistics = function.statistics
    presence = function.presence
  }
}
